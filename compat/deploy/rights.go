package deploy

import (
	"fmt"
	"os"
	"sort"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// operations holds the one table of rights.
const operations = "../../docs/operations.md"

// right is one verb on one resource.
type right struct{ group, resource, verb string }

func (r right) String() string {
	return fmt.Sprintf("%s %s.%s", r.verb, r.resource, r.group)
}

// rights are without order and repetition.
type rights map[right]bool

func (r rights) String() string {
	var all []string
	for one := range r {
		all = append(all, one.String())
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

// minus gives what the other one lacks.
func (r rights) minus(other rights) rights {
	left := rights{}
	for one := range r {
		if !other[one] {
			left[one] = true
		}
	}
	return left
}

// documented reads the table: the rights of each mode.
func documented() (map[string]rights, error) {
	text, err := os.ReadFile(operations)
	if err != nil {
		return nil, err
	}
	var modes []string
	found := map[string]rights{}
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			modes = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		switch {
		case cells[0] == "API group":
			modes = cells[3:]
		case modes == nil || strings.HasPrefix(cells[0], "---"):
		case len(cells) != len(modes)+3:
			return nil, fmt.Errorf("%s: a row with %d cells: %s", operations, len(cells), line)
		default:
			group := strings.TrimSuffix(cells[0], "core")
			for i, mode := range modes {
				if found[mode] == nil {
					found[mode] = rights{}
				}
				switch cells[3+i] {
				case "yes":
					for _, verb := range strings.Split(cells[2], ", ") {
						found[mode][right{group, cells[1], verb}] = true
					}
				case "–":
				default:
					return nil, fmt.Errorf("%s: neither yes nor –: %s", operations, line)
				}
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no table of rights", operations)
	}
	return found, nil
}

// granted gives what these roles grant; a rule that is more than resources, or has names, fails.
func granted(roles objects) (rights, error) {
	found := rights{}
	for _, one := range roles {
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(one.Object, &role); err != nil {
			return nil, err
		}
		some, err := ofRules(role.Rules)
		if err != nil {
			return nil, err
		}
		for one := range some {
			found[one] = true
		}
	}
	return found, nil
}

func ofRules(rules []rbacv1.PolicyRule) (rights, error) {
	found := rights{}
	for _, rule := range rules {
		if len(rule.NonResourceURLs)+len(rule.ResourceNames) > 0 {
			return nil, fmt.Errorf("not a rule of the table: %v", rule)
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					found[right{group, resource, verb}] = true
				}
			}
		}
	}
	return found, nil
}
