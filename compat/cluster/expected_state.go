package main

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"k8s-relay/compat/cluster/digest"
)

// expectedState is what the API server says, read from typed objects, and what it has said before.
type expectedState struct {
	// controllers of each ReplicaSet and Job ever seen: one that was deleted goes on resolving.
	controllers map[types.UID]*metav1.OwnerReference
	// first is each pod as it was seen first with an address.
	first map[string]digest.Pod
	// ids of all containers that each pod has had.
	ids map[string]map[string]bool
}

type owner struct {
	kind      uint8
	name, uid string
}

func newExpectedState() *expectedState {
	return &expectedState{
		controllers: map[types.UID]*metav1.OwnerReference{},
		first:       map[string]digest.Pod{}, ids: map[string]map[string]bool{},
	}
}

// snapshot is all pods that a reducer should know now.
type snapshot struct {
	// main has the containers of containerStatuses; all has those of init and ephemeral containers too.
	main, all map[string]digest.Pod
}

func (t *expectedState) read(ctx context.Context, client kubernetes.Interface) (snapshot, error) {
	all := metav1.ListOptions{}
	pods, err := client.CoreV1().Pods("").List(ctx, all)
	if err != nil {
		return snapshot{}, err
	}
	sets, err := client.AppsV1().ReplicaSets("").List(ctx, all)
	if err != nil {
		return snapshot{}, err
	}
	jobs, err := client.BatchV1().Jobs("").List(ctx, all)
	if err != nil {
		return snapshot{}, err
	}
	for i := range sets.Items {
		t.controllers[sets.Items[i].UID] = metav1.GetControllerOf(&sets.Items[i])
	}
	for i := range jobs.Items {
		t.controllers[jobs.Items[i].UID] = metav1.GetControllerOf(&jobs.Items[i])
	}
	return t.of(pods.Items), nil
}

// of gives what should be announced of these pods.
func (t *expectedState) of(pods []corev1.Pod) snapshot {
	p := snapshot{main: map[string]digest.Pod{}, all: map[string]digest.Pod{}}
	for i := range pods {
		pod := &pods[i]
		if pod.Status.PodIP == "" {
			continue
		}
		announced := record(pod, t.ownerOf(pod))
		announced.Containers = containers(pod.Status.ContainerStatuses)
		p.main[announced.UID] = announced
		announced.Containers = containers(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses)
		p.all[announced.UID] = announced
		t.remember(announced)
	}
	return p
}

func (t *expectedState) remember(pod digest.Pod) {
	if _, known := t.first[pod.UID]; !known {
		t.first[pod.UID], t.ids[pod.UID] = pod, map[string]bool{}
	}
	for _, c := range pod.Containers {
		t.ids[pod.UID][c.ID] = true
	}
}

// ownerOf gives the effective owner: of a ReplicaSet its Deployment, of a Job its CronJob.
func (t *expectedState) ownerOf(pod *corev1.Pod) owner {
	direct := metav1.GetControllerOf(pod)
	if direct == nil {
		return owner{kind: 254, name: pod.Name}
	}
	if above := t.controllers[direct.UID]; above != nil &&
		(direct.Kind == "ReplicaSet" && above.Kind == "Deployment" || direct.Kind == "Job" && above.Kind == "CronJob") {
		direct = above
	}
	return owner{kindCode(direct.Kind), direct.Name, string(direct.UID)}
}

func record(pod *corev1.Pod, o owner) digest.Pod {
	announced := digest.Pod{
		UID: string(pod.UID), IP: pod.Status.PodIP, OwnerKind: o.kind, OwnerName: o.name, OwnerUID: o.uid,
		Name: pod.Name, Namespace: pod.Namespace,
	}
	if pod.Spec.HostNetwork {
		announced.HostNetwork = 1
	}
	var images []string
	for _, status := range pod.Status.ContainerStatuses {
		images = append(images, "'"+status.Image+"'")
	}
	slices.Sort(images)
	announced.Version = strings.Join(images, ",")
	return announced
}

// containers gives those that have an id, in the order of their bytes.
func containers(lists ...[]corev1.ContainerStatus) []digest.Container {
	var announced []digest.Container
	for _, list := range lists {
		for _, status := range list {
			if status.ContainerID != "" {
				announced = append(announced, digest.Container{ID: status.ContainerID, Name: status.Name, Image: status.Image})
			}
		}
	}
	return announced
}

func kindCode(kind string) uint8 {
	switch kind {
	case "ReplicaSet":
		return 0
	case "Deployment":
		return 1
	case "Job":
		return 2
	case "CronJob":
		return 3
	case "NoOwner":
		return 254
	}
	return 255
}
