// Package deploy judges what stands in deploy/: it renders the Helm chart and the kustomize overlays
// with their own libraries, applies them to a real API server, and asks that server who may do what.
package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const (
	ourChart = "../../deploy/helm/k8s-relay"
	overlays = "../../deploy/kustomize/overlays"
)

// namespace is where everything is deployed.
const namespace = "opentelemetry-ebpf"

// objects are rendered manifests in the order in which they are to be applied.
type objects []*unstructured.Unstructured

// helm renders a chart as `helm template RELEASE -n namespace` does, its schema included.
func helm(chart, release string, values map[string]any) (objects, error) {
	loaded, err := loader.Load(chart)
	if err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(loaded, values, options, chartutil.DefaultCapabilities.Copy())
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{}.Render(loaded, all)
	if err != nil {
		return nil, err
	}
	var found objects
	for name, text := range files {
		if path.Ext(name) == ".txt" {
			continue
		}
		some, err := parse([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		found = append(found, some...)
	}
	return found.inOrder(), nil
}

// kustomize renders a folder as `kubectl kustomize` does.
func kustomize(folder string) (objects, error) {
	on := filesys.MakeFsOnDisk()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(on, folder)
	if err != nil {
		return nil, err
	}
	text, err := built.AsYaml()
	if err != nil {
		return nil, err
	}
	found, err := parse(text)
	return found.inOrder(), err
}

func parse(text []byte) (objects, error) {
	var found objects
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		object := map[string]any{}
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		if len(object) > 0 {
			found = append(found, &unstructured.Unstructured{Object: object})
		}
	}
}

// inOrder puts what others refer to first.
func (o objects) inOrder() objects {
	rank := func(kind string) int {
		for rank, first := range []string{"Namespace", "ServiceAccount", "ConfigMap"} {
			if kind == first {
				return rank
			}
		}
		return 3
	}
	sort.SliceStable(o, func(i, j int) bool {
		if a, b := rank(o[i].GetKind()), rank(o[j].GetKind()); a != b {
			return a < b
		}
		return o[i].GetKind()+" "+o[i].GetName() < o[j].GetKind()+" "+o[j].GetName()
	})
	return o
}

// kind gives the objects of a kind.
func (o objects) kind(kind string) objects {
	var found objects
	for _, one := range o {
		if one.GetKind() == kind {
			found = append(found, one)
		}
	}
	return found
}

// kinds says what was rendered.
func (o objects) kinds() string {
	var kinds []string
	for _, one := range o {
		kinds = append(kinds, one.GetKind())
	}
	return strings.Join(kinds, " ")
}

// workload gives the Deployment or the DaemonSet.
func (o objects) workload() *unstructured.Unstructured {
	for _, one := range append(o.kind("Deployment"), o.kind("DaemonSet")...) {
		return one
	}
	return &unstructured.Unstructured{Object: map[string]any{}}
}

// pod gives the workload's pod spec.
func (o objects) pod() map[string]any {
	spec, _, _ := unstructured.NestedMap(o.workload().Object, "spec", "template", "spec")
	return spec
}

// container gives a container of the workload by its name.
func (o objects) container(name string) map[string]any {
	containers, _, _ := unstructured.NestedSlice(o.pod(), "containers")
	for _, one := range containers {
		if container := one.(map[string]any); container["name"] == name {
			return container
		}
	}
	return nil
}

// args gives the arguments of a container.
func (o objects) args(container string) []string {
	found, _, _ := unstructured.NestedStringSlice(o.container(container), "args")
	return found
}

// env gives the variables of a container that have a value of their own.
func (o objects) env(container string) map[string]string {
	found := map[string]string{}
	variables, _, _ := unstructured.NestedSlice(o.container(container), "env")
	for _, one := range variables {
		if value, ok := one.(map[string]any)["value"].(string); ok {
			found[one.(map[string]any)["name"].(string)] = value
		}
	}
	return found
}
