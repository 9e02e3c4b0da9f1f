// Package synthetic makes up ReplicaSets and pods, each from its number alone, so that who sends
// them and who checks what became of them agree without a word.
package synthetic

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Size says how much there is to send of an object.
type Size string

const (
	// Tiny pods take some 100 bytes: short names, no containers.
	Tiny Size = "tiny"
	// Large pods take some 4 KiB: long names, five containers with long images.
	Large Size = "large"
)

// PodsPerSet is how many pods one ReplicaSet has.
const PodsPerSet = 5

const largeContainers = 5

// Valid says whether there is such a size.
func (s Size) Valid() bool { return s == Tiny || s == Large }

// ReplicaSet makes the one with this number, of the Deployment with the same.
func ReplicaSet(i int, size Size) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
		UID: uid('a', i), Name: name("set", i, size), Namespace: namespace(i, size),
		OwnerReferences: controller("apps/v1", "Deployment", uid('d', i), name("app", i, size)),
	}}
}

// Pod makes the one with this number, of the ReplicaSet that it falls to. It has an address.
func Pod(i int, size Size) *corev1.Pod {
	set := i / PodsPerSet
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			UID: uid('b', i), Name: name("pod", i, size), Namespace: namespace(set, size),
			OwnerReferences: controller("apps/v1", "ReplicaSet", uid('a', set), name("set", set, size)),
		},
		Status: corev1.PodStatus{PodIP: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)},
	}
	if size == Tiny {
		return pod
	}
	for n := range largeContainers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name:        fmt.Sprintf("container-%d", n),
			Image:       fmt.Sprintf("registry.example/%s/%d:%d", strings.Repeat("long", 75), n, set%1000),
			ContainerID: fmt.Sprintf("containerd://%032x%032x", i, n),
		})
	}
	return pod
}

func uid(kind byte, i int) types.UID {
	return types.UID(fmt.Sprintf("%c0000000-0000-4000-8000-%012x", kind, i))
}

func name(kind string, i int, size Size) string {
	if size == Tiny {
		return fmt.Sprintf("%s-%d", kind, i)
	}
	return fmt.Sprintf("%s-%s-%d", kind, strings.Repeat("n", 240), i)
}

func namespace(i int, size Size) string {
	if size == Tiny {
		return "load"
	}
	return fmt.Sprintf("load-%s-%d", strings.Repeat("s", 50), i%100)
}

func controller(api, kind string, uid types.UID, name string) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: api, Kind: kind, UID: uid, Name: name, Controller: &yes}}
}
