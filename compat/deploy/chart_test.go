package deploy

import (
	"os"
	"reflect"
	"slices"
	"testing"
)

// theChart gives the folder of the chart opentelemetry-ebpf, which is not ours and not kept here.
func theChart(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("CHART")
	if folder == "" {
		t.Skip("CHART does not name a folder with the chart opentelemetry-ebpf (helm pull --untar)")
	}
	return folder
}

// moved are the values that put this image into containers of the chart's pod.
func moved(both bool, more map[string]any) map[string]any {
	relay := map[string]any{"image": map[string]any{"registry": "registry.example", "name": "k8s-relay", "tag": "0.1.0"}}
	for key, value := range more {
		relay[key] = value
	}
	collector := map[string]any{"relay": relay}
	if both {
		// The chart reads `repository` here, where it reads `registry` for the relay.
		collector["watcher"] = map[string]any{
			"image": map[string]any{"repository": "registry.example", "name": "k8s-relay", "tag": "0.1.0"},
		}
	}
	return map[string]any{
		"clusterName": "my-cluster", "endpoint": map[string]any{"address": "otlp.example"},
		"log": map[string]any{"console": true}, "k8sCollector": collector,
	}
}

// pod of the chart's collector.
func collector(t *testing.T, values map[string]any) objects {
	t.Helper()
	all, err := helm(theChart(t), "release", values)
	if err != nil {
		t.Fatal(err)
	}
	var found objects
	for _, one := range all {
		if one.GetName() == "release-opentelemetry-ebpf-k8s-collector" {
			found = append(found, one)
		}
	}
	return found
}

func TestTheChartRendersTheCommandLinesThatThisImageIsTestedWith(t *testing.T) {
	theChart(t)
	for name, set := range map[string]struct {
		both bool
		more map[string]any
		args []string
	}{
		"one container":           {},
		"both, by an argument":    {both: true, more: map[string]any{"additionalArgs": []any{"--source=native"}}, args: []string{"--source=native"}},
		"both, by a variable":     {both: true, more: map[string]any{"env": []any{map[string]any{"name": "K8S_RELAY_SOURCE", "value": "native"}}}},
		"one, with more channels": {more: map[string]any{"log": map[string]any{"whitelist": map[string]any{"component": "k8s"}}}, args: []string{"--log-whitelist-component=k8s"}},
	} {
		t.Run(name, func(t *testing.T) {
			rendered := collector(t, moved(set.both, set.more))
			if args, want := rendered.args("k8s-relay"), append(slices.Clone(relayArgs), set.args...); !slices.Equal(args, want) {
				t.Errorf("the relay's arguments are %v", args)
			}
			if args := rendered.args("k8s-watcher"); !slices.Equal(args, watcherArgs) {
				t.Errorf("the watcher's arguments are %v", args)
			}
			env := rendered.env("k8s-relay")
			for name, value := range map[string]string{
				"EBPF_NET_CLUSTER_NAME": "my-cluster",
				"EBPF_NET_INTAKE_HOST":  "release-opentelemetry-ebpf-reducer",
				"EBPF_NET_INTAKE_PORT":  "7000",
			} {
				if env[name] != value {
					t.Errorf("%s is %q", name, env[name])
				}
			}
			if len(rendered.env("k8s-watcher")) > 0 {
				t.Error("the watcher has variables, so it would not be taken for a companion")
			}
			images := map[string]bool{"k8s-relay": true, "k8s-watcher": set.both}
			for container, ours := range images {
				if image := rendered.container(container)["image"]; (image == "registry.example/k8s-relay:0.1.0") != ours {
					t.Errorf("%s has the image %v", container, image)
				}
				if command := rendered.container(container)["command"]; command != nil {
					t.Errorf("%s has the command %v", container, command)
				}
			}
		})
	}
}

func TestTheChartsRightsAreEnoughForTheNativeSource(t *testing.T) {
	table, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	found, err := granted(collector(t, moved(false, nil)).kind("ClusterRole"))
	if err != nil {
		t.Fatal(err)
	}
	if lacking := table["native"].minus(found); len(lacking) > 0 {
		t.Errorf("the chart does not grant %v", lacking)
	}
	for more := range found.minus(table["native"]) {
		if more.verb != "get" {
			t.Errorf("the chart grants %v, which the guide does not say", more)
		}
	}
}

func TestTheChartHasNoProbesAndNoVolumesOfTheUsers(t *testing.T) {
	values := moved(false, map[string]any{
		"livenessProbe": map[string]any{}, "extraVolumes": []any{map[string]any{"name": "ca"}},
	})
	plain, rendered := collector(t, moved(false, nil)), collector(t, values)
	if !reflect.DeepEqual(plain.pod(), rendered.pod()) {
		t.Error("the chart has values for them: the migration guide says that it has none")
	}
	if spec := rendered.workload().Object["spec"].(map[string]any); spec["strategy"].(map[string]any)["type"] != "RollingUpdate" {
		t.Errorf("the strategy is %v", spec["strategy"])
	}
}
