package deploy

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// settles is how long the API server's authorizer may take to hear of a role.
const settles = 30 * time.Second

// verbs are all that RBAC knows of resources.
var verbs = []string{
	"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate",
}

// onPlane gives a running control plane, or skips: PLANE names its binary.
func onPlane(t *testing.T) *plane {
	binary := os.Getenv("PLANE")
	if binary == "" {
		t.Skip("PLANE does not name the binary of compat/controlplane")
	}
	p, err := startPlane(binary, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	names := []string{namespace, "shop", "billing"}
	for _, name := range names {
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := p.client.CoreV1().Namespaces().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// deployed creates all of it, strictly, and removes it at the end of the test.
func (p *plane) deployed(t *testing.T, rendered objects) {
	t.Helper()
	for _, one := range rendered {
		if err := p.create(t.Context(), one); err != nil {
			t.Fatalf("%s %s: %v", one.GetKind(), one.GetName(), err)
		}
		t.Cleanup(func() {
			if err := p.delete(context.Background(), one); err != nil {
				t.Errorf("%s %s stays: %v", one.GetKind(), one.GetName(), err)
			}
		})
	}
}

// account is the ServiceAccount of what is deployed, as the API server names it.
func account(rendered objects) string {
	return "system:serviceaccount:" + namespace + ":" + rendered.kind("ServiceAccount")[0].GetName()
}

// as gives a client that acts as this ServiceAccount.
func (p *plane) as(t *testing.T, user string) kubernetes.Interface {
	t.Helper()
	config := rest.CopyConfig(p.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: user,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// reviewed gives the rights that the API server itself lists for a user in a namespace.
func (p *plane) reviewed(t *testing.T, user, in string) (rights, error) {
	t.Helper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: in}}
	answer, err := p.as(t, user).AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	if answer.Status.Incomplete {
		return nil, fmt.Errorf("the list of rules is not complete: %s", answer.Status.EvaluationError)
	}
	var rules []rbacv1.PolicyRule
	for _, rule := range answer.Status.ResourceRules {
		rules = append(rules, rbacv1.PolicyRule{
			Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames,
		})
	}
	return ofRules(rules)
}

// nobody is a ServiceAccount to which nothing is bound: what it may do, everybody may.
const nobody = "system:serviceaccount:" + namespace + ":nobody"

// own gives what a user may do in a namespace beyond what everybody may.
func (p *plane) own(t *testing.T, user, in string) rights {
	t.Helper()
	everybody, err := p.reviewed(t, nobody, in)
	if err != nil {
		t.Fatal(err)
	}
	all, err := p.reviewed(t, user, in)
	if err != nil {
		t.Fatal(err)
	}
	return all.minus(everybody)
}

// has waits until the authorizer has heard of what was deployed.
func (p *plane) has(t *testing.T, user, in string, want rights) {
	t.Helper()
	var found rights
	for end := time.Now().Add(settles); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if found = p.own(t, user, in); reflect.DeepEqual(found, want) {
			return
		}
	}
	t.Errorf("in %s: granted is %v, documented %v", in, found, want)
}

// resources gives all that the API server serves, subresources included.
func (p *plane) resources(t *testing.T) (found []right) {
	t.Helper()
	_, lists, err := p.client.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[right]bool{}
	for _, list := range lists {
		group, _, slash := strings.Cut(list.GroupVersion, "/")
		if !slash {
			group = ""
		}
		for _, one := range list.APIResources {
			if of := (right{group: group, resource: one.Name}); !seen[of] {
				seen[of] = true
				found = append(found, of)
			}
		}
	}
	return found
}

// may asks the API server about one right of a user; in no namespace means in all of them.
func (p *plane) may(t *testing.T, user, in string, asked right) bool {
	t.Helper()
	resource, sub, _ := strings.Cut(asked.resource, "/")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:   user,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: in, Verb: asked.verb, Group: asked.group, Resource: resource, Subresource: sub,
		},
	}}
	answer, err := p.client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// onlyMay asks about every verb on every resource.
func (p *plane) onlyMay(t *testing.T, user, in string, want rights) {
	t.Helper()
	asked := 0
	for _, resource := range p.resources(t) {
		for _, verb := range verbs {
			one := right{resource.group, resource.resource, verb}
			asked++
			if allowed := p.may(t, user, in, one); allowed != want[one] && !(allowed && p.may(t, nobody, in, one)) {
				t.Errorf("in %q: %v: allowed is %v", in, one, allowed)
			}
		}
	}
	t.Logf("%d questions", asked)
}

func TestTheAPIServerAcceptsEachFormAndGrantsExactlyWhatIsDocumented(t *testing.T) {
	p := onPlane(t)
	table, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	for mode, folder := range modes {
		forms := map[string]objects{"helm": ours(t, map[string]any{
			"mode":                mode,
			"podDisruptionBudget": map[string]any{"enabled": true},
			"networkPolicy":       map[string]any{"enabled": true},
			"watcher":             map[string]any{"image": map[string]any{"tag": "v0.10.2"}},
		})}
		if folder != "" {
			forms["kustomize"] = overlay(t, folder)
		}
		for form, rendered := range forms {
			t.Run(mode+" by "+form, func(t *testing.T) {
				p.deployed(t, rendered)
				user := account(rendered)
				for _, in := range []string{namespace, "shop"} {
					p.has(t, user, in, table[mode])
				}
				p.onlyMay(t, user, "", table[mode])
			})
		}
	}
}

func TestARelayOfNamespacesIsAllowedNothingOutsideOfThem(t *testing.T) {
	p := onPlane(t)
	table, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("helm", func(t *testing.T) {
		rendered := ours(t, map[string]any{"scope": map[string]any{"namespaces": []any{"shop"}}})
		p.deployed(t, rendered)
		p.has(t, account(rendered), "shop", table["native"])
		p.onlyMay(t, account(rendered), "shop", table["native"])
		for _, in := range []string{"", "billing"} {
			p.onlyMay(t, account(rendered), in, rights{})
		}
	})
	t.Run("kustomize", func(t *testing.T) {
		rendered := namespaced(t)
		p.deployed(t, rendered)
		p.has(t, account(rendered), namespace, table["native"])
		p.onlyMay(t, account(rendered), "", rights{})
	})
}

// The judge must be able to fail.
func TestAManifestWithAMistakeInItIsRefused(t *testing.T) {
	p := onPlane(t)
	rendered := ours(t, map[string]any{})
	workload := rendered.workload().DeepCopy()
	spec := rendered.workload().DeepCopy()
	containers := spec.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)
	containers[0].(map[string]any)["imagePullPolcy"] = "Always"
	if err := p.create(t.Context(), spec); !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), "imagePullPolcy") {
		t.Errorf("an unknown field: %v", err)
	}
	if err := p.create(t.Context(), workload); err != nil {
		t.Errorf("without it: %v", err)
	}
}

func TestThePodsMeetThePodSecurityStandardThatTheGuideNames(t *testing.T) {
	p := onPlane(t)
	strictest := map[string]string{
		"native": "restricted", "enrichment": "restricted",
		// The watcher's image is not ours: whom it runs as is not said.
		"legacy-sidecar": "baseline", "shadow": "baseline",
		// The network of the node.
		"enrichment-node": "privileged",
	}
	for _, level := range []string{"restricted", "baseline", "privileged"} {
		labels := map[string]string{"pod-security.kubernetes.io/enforce": level}
		in := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: level, Labels: labels}}
		if _, err := p.client.CoreV1().Namespaces().Create(t.Context(), in, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for mode, meets := range strictest {
		var spec corev1.PodSpec
		rendered := ours(t, map[string]any{"mode": mode})
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(rendered.pod(), &spec); err != nil {
			t.Fatal(err)
		}
		spec.ServiceAccountName = ""
		accepted := "none"
		for _, level := range []string{"privileged", "baseline", "restricted"} {
			made := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "relay-", Namespace: level}, Spec: spec}
			_, err := p.client.CoreV1().Pods(level).Create(t.Context(), made, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			switch {
			case err == nil:
				accepted = level
			case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "violates PodSecurity"):
			default:
				t.Fatalf("%s: %v", mode, err)
			}
		}
		if accepted != meets {
			t.Errorf("%s meets %s, not %s", mode, accepted, meets)
		}
	}
}
