package deploy

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// modes of the chart, and the overlay of each that has one.
var modes = map[string]string{
	"legacy-sidecar":  "legacy-sidecar",
	"shadow":          "shadow",
	"native":          "native",
	"enrichment":      "",
	"enrichment-node": "enrichment-node",
}

func ours(t *testing.T, values map[string]any) objects {
	t.Helper()
	found, err := helm(ourChart, "k8s-relay", values)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func overlay(t *testing.T, name string) objects {
	t.Helper()
	found, err := kustomize(filepath.Join(overlays, name))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestBothFormsGrantWhatTheTableSays(t *testing.T) {
	table, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	for mode, folder := range modes {
		forms := map[string]objects{"helm": ours(t, map[string]any{"mode": mode})}
		if folder != "" {
			forms["kustomize"] = overlay(t, folder)
		}
		for form, rendered := range forms {
			found, err := granted(rendered.kind("ClusterRole"))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(found, table[mode]) {
				t.Errorf("%s, %s: granted is %v, documented %v", mode, form, found, table[mode])
			}
			if roles := rendered.kind("Role"); len(roles) > 0 {
				t.Errorf("%s, %s: %d Roles that the table does not have", mode, form, len(roles))
			}
		}
	}
	if len(table) != len(modes) {
		t.Errorf("the table has %d modes, deploy/ has %d", len(table), len(modes))
	}
}

func TestARelayOfNamespacesHasTheSameRightsInEachOfThemAndNoneElsewhere(t *testing.T) {
	table, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	scope := map[string]any{"namespaces": []any{"shop", "billing"}}
	rendered := ours(t, map[string]any{"mode": "native", "scope": scope})
	if roles := rendered.kind("ClusterRole"); len(roles) > 0 {
		t.Errorf("a ClusterRole: %v", roles)
	}
	var namespaces []string
	for _, role := range rendered.kind("Role") {
		namespaces = append(namespaces, role.GetNamespace())
		found, err := granted(objects{role})
		if err != nil || !reflect.DeepEqual(found, table["native"]) {
			t.Errorf("granted is %v %v", found, err)
		}
	}
	slices.Sort(namespaces)
	if !slices.Equal(namespaces, []string{"billing", "shop"}) {
		t.Errorf("Roles in %v", namespaces)
	}
	for _, flag := range []string{"--namespace=shop", "--namespace=billing"} {
		if !slices.Contains(rendered.args("k8s-relay"), flag) {
			t.Errorf("no %s in %v", flag, rendered.args("k8s-relay"))
		}
	}
}

func TestBothFormsDeployTheSamePod(t *testing.T) {
	for mode, folder := range modes {
		if folder == "" {
			continue
		}
		byHelm := ours(t, map[string]any{"mode": mode})
		byKustomize := overlay(t, folder)
		if a, b := byHelm.workload().GetKind(), byKustomize.workload().GetKind(); a != b {
			t.Errorf("%s: %s and %s", mode, a, b)
		}
		names := func(o objects) (names []string) {
			for _, one := range o.pod()["containers"].([]any) {
				names = append(names, one.(map[string]any)["name"].(string))
			}
			slices.Sort(names)
			return names
		}
		if a, b := names(byHelm), names(byKustomize); !slices.Equal(a, b) {
			t.Errorf("%s: containers %v and %v", mode, a, b)
		}
		for _, field := range []string{
			"securityContext", "enableServiceLinks", "terminationGracePeriodSeconds", "hostNetwork", "dnsPolicy", "tolerations",
		} {
			if a, b := byHelm.pod()[field], byKustomize.pod()[field]; !reflect.DeepEqual(a, b) {
				t.Errorf("%s: %s is %v and %v", mode, field, a, b)
			}
		}
		for _, container := range names(byHelm) {
			for _, field := range []string{"ports", "livenessProbe", "readinessProbe", "resources", "securityContext", "volumeMounts", "image"} {
				a, b := byHelm.container(container)[field], byKustomize.container(container)[field]
				if !reflect.DeepEqual(a, b) {
					t.Errorf("%s: %s of %s is %v and %v", mode, field, container, a, b)
				}
			}
		}
		// Where the reducer is, and where questions are answered, is said by a flag here and in
		// the config file or a variable there.
		said := func(o objects) []string {
			args := slices.DeleteFunc(o.args("k8s-relay"), func(arg string) bool {
				return strings.HasPrefix(arg, "--intake-") || strings.HasPrefix(arg, "--enrich-address=") || arg == "--log-format=text"
			})
			slices.Sort(args)
			return args
		}
		if a, b := said(byHelm), said(byKustomize); !slices.Equal(a, b) {
			t.Errorf("%s: arguments %v and %v", mode, a, b)
		}
		if a, b := byHelm.args("k8s-watcher"), byKustomize.args("k8s-watcher"); !slices.Equal(a, b) {
			t.Errorf("%s: the watcher's arguments %v and %v", mode, a, b)
		}
		if mode == "enrichment-node" {
			if a, b := settings(t, byHelm), settings(t, byKustomize); !reflect.DeepEqual(a, b) {
				t.Errorf("%s: the config files are %v and %v", mode, a, b)
			}
		}
		variable := "K8S_RELAY_ADMIN_ADDRESS"
		if a, b := byHelm.env("k8s-relay")[variable], byKustomize.env("k8s-relay")[variable]; a != b {
			t.Errorf("%s: %s is %s and %s", mode, variable, a, b)
		}
	}
}

// settings reads the config file.
func settings(t *testing.T, rendered objects) (found map[string]any) {
	t.Helper()
	text := rendered.kind("ConfigMap")[0].Object["data"].(map[string]any)["config.yaml"].(string)
	if err := yaml.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTheRelayIsUnprivilegedInEveryMode(t *testing.T) {
	for mode := range modes {
		relay := ours(t, map[string]any{"mode": mode}).container("k8s-relay")
		want := map[string]any{
			"runAsNonRoot": true, "runAsUser": float64(65532), "runAsGroup": float64(65532), "readOnlyRootFilesystem": true,
			"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}},
		}
		found := relay["securityContext"].(map[string]any)
		for field, value := range want {
			if number, ok := found[field].(int64); ok {
				found[field] = float64(number)
			}
			if !reflect.DeepEqual(found[field], value) {
				t.Errorf("%s: %s is %v", mode, field, found[field])
			}
		}
	}
}

func TestEveryValueLeadsWhereItSays(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	rendered := ours(t, map[string]any{
		"mode":                      "native",
		"image":                     map[string]any{"repository": "registry.example/k8s-relay", "digest": digest},
		"extraArgs":                 []any{"--reannounce=on-change"},
		"extraEnv":                  []any{map[string]any{"name": "K8S_RELAY_LIST", "value": "pages"}},
		"extraVolumes":              []any{map[string]any{"name": "ca", "secret": map[string]any{"secretName": "ca"}}},
		"extraVolumeMounts":         []any{map[string]any{"name": "ca", "mountPath": "/etc/ca"}},
		"priorityClassName":         "system-cluster-critical",
		"topologySpreadConstraints": []any{map[string]any{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}},
		"podDisruptionBudget":       map[string]any{"enabled": true},
		"networkPolicy":             map[string]any{"enabled": true, "from": []any{map[string]any{"namespaceSelector": map[string]any{}}}},
		"podMonitor":                map[string]any{"enabled": true, "labels": map[string]any{"release": "prometheus"}},
		"admin":                     map[string]any{"scheme": "HTTPS"},
		"clusterName":               "my-cluster",
		"config":                    map[string]any{"owner-wait": "30s"},
	})
	want := "ServiceAccount ConfigMap ClusterRole ClusterRoleBinding Deployment NetworkPolicy PodDisruptionBudget PodMonitor"
	if found := rendered.kinds(); found != want {
		t.Errorf("rendered is %s", found)
	}
	relay := rendered.container("k8s-relay")
	if relay["image"] != "registry.example/k8s-relay@"+digest {
		t.Errorf("the image is %v", relay["image"])
	}
	if args := rendered.args("k8s-relay"); args[len(args)-1] != "--reannounce=on-change" {
		t.Errorf("extraArgs are not the last: %v", args)
	}
	if rendered.env("k8s-relay")["K8S_RELAY_LIST"] != "pages" {
		t.Error("extraEnv is lost")
	}
	if rendered.pod()["priorityClassName"] != "system-cluster-critical" {
		t.Error("priorityClassName is lost")
	}
	config := rendered.kind("ConfigMap")[0].Object["data"].(map[string]any)["config.yaml"]
	if config != "labels:\n  environment: my-cluster\nowner-wait: 30s\n" {
		t.Errorf("the config file is %q", config)
	}
	for _, probe := range []string{"livenessProbe", "readinessProbe"} {
		if get := relay[probe].(map[string]any)["httpGet"].(map[string]any); get["scheme"] != "HTTPS" {
			t.Errorf("the %s asks by %v", probe, get["scheme"])
		}
	}
	// Other settings are other pods.
	checksum := func(o objects) any {
		return o.workload().Object["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)["annotations"].(map[string]any)["checksum/config"]
	}
	if checksum(rendered) == checksum(ours(t, map[string]any{})) {
		t.Error("another config file is not another pod")
	}
}

func TestWrongValuesAreRefusedByName(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"mode":                  {"mode": "netive"},
		"imagePullPolcy":        {"imagePullPolcy": "Always"},
		"digest":                {"image": map[string]any{"digest": "sha256:123"}},
		"port":                  {"reducer": map[string]any{"port": "seven"}},
		"logLevel":              {"watcher": map[string]any{"logLevel": "warn"}},
		"clusterName":           {"clusterName": strings.Repeat("a", 41)},
		"scope.namespaces":      {"mode": "enrichment", "scope": map[string]any{"namespaces": []any{"shop"}}},
		"podMonitor":            {"mode": "enrichment-node", "podMonitor": map[string]any{"enabled": true}},
		"terminationGracePerio": {"terminationGracePeriodSeconds": 1},
	} {
		_, err := helm(ourChart, "k8s-relay", values)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// namespaced is the overlay `native` with the component that makes Roles of its rights.
func namespaced(t *testing.T) objects {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(overlays, ".."), ".namespaced-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	text := "resources: [../overlays/native]\ncomponents: [../components/namespaced, ../components/network-policy]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	found, err := kustomize(dir)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTheComponentForOneNamespaceReplacesTheClusterRole(t *testing.T) {
	table, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	rendered := namespaced(t)
	want := "Namespace ServiceAccount ConfigMap Deployment NetworkPolicy Role RoleBinding"
	if found := rendered.kinds(); found != want {
		t.Errorf("rendered is %s", found)
	}
	found, err := granted(rendered.kind("Role"))
	if err != nil || !reflect.DeepEqual(found, table["native"]) {
		t.Errorf("granted is %v %v", found, err)
	}
}
