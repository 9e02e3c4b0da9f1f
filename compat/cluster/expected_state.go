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

// truth is what the API server says, read from typed objects, and what it has said before.
type truth struct {
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

func newTruth() *truth {
	return &truth{
		controllers: map[types.UID]*metav1.OwnerReference{},
		first:       map[string]digest.Pod{}, ids: map[string]map[string]bool{},
	}
}

// picture is all pods that a reducer should know now.
type picture struct {
	// main has the containers of containerStatuses; all has those of init and ephemeral containers too.
	main, all map[string]digest.Pod
}

func (t *truth) read(ctx context.Context, client kubernetes.Interface) (picture, error) {
	all := metav1.ListOptions{}
	pods, err := client.CoreV1().Pods("").List(ctx, all)
	if err != nil {
		return picture{}, err
	}
	sets, err := client.AppsV1().ReplicaSets("").List(ctx, all)
	if err != nil {
		return picture{}, err
	}
	jobs, err := client.BatchV1().Jobs("").List(ctx, all)
	if err != nil {
		return picture{}, err
	}
	for i := range sets.Items {
		t.controllers[sets.Items[i].UID] = metav1.GetControllerOf(&sets.Items[i])
	}
	for i := range jobs.Items {
		t.controllers[jobs.Items[i].UID] = metav1.GetControllerOf(&jobs.Items[i])
	}
	return t.of(pods.Items), nil
}

// of gives what should be told of these pods.
func (t *truth) of(pods []corev1.Pod) picture {
	p := picture{main: map[string]digest.Pod{}, all: map[string]digest.Pod{}}
	for i := range pods {
		pod := &pods[i]
		if pod.Status.PodIP == "" {
			continue
		}
		told := record(pod, t.ownerOf(pod))
		told.Containers = containers(pod.Status.ContainerStatuses)
		p.main[told.UID] = told
		told.Containers = containers(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses)
		p.all[told.UID] = told
		t.remember(told)
	}
	return p
}

func (t *truth) remember(pod digest.Pod) {
	if _, known := t.first[pod.UID]; !known {
		t.first[pod.UID], t.ids[pod.UID] = pod, map[string]bool{}
	}
	for _, c := range pod.Containers {
		t.ids[pod.UID][c.ID] = true
	}
}

// ownerOf gives the effective owner: of a ReplicaSet its Deployment, of a Job its CronJob.
func (t *truth) ownerOf(pod *corev1.Pod) owner {
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
	told := digest.Pod{
		UID: string(pod.UID), IP: pod.Status.PodIP, OwnerKind: o.kind, OwnerName: o.name, OwnerUID: o.uid,
		Name: pod.Name, Namespace: pod.Namespace,
	}
	if pod.Spec.HostNetwork {
		told.HostNetwork = 1
	}
	var images []string
	for _, status := range pod.Status.ContainerStatuses {
		images = append(images, "'"+status.Image+"'")
	}
	slices.Sort(images)
	told.Version = strings.Join(images, ",")
	return told
}

// containers gives those that have an id, in the order of their bytes.
func containers(lists ...[]corev1.ContainerStatus) []digest.Container {
	var told []digest.Container
	for _, list := range lists {
		for _, status := range list {
			if status.ContainerID != "" {
				told = append(told, digest.Container{ID: status.ContainerID, Name: status.Name, Image: status.Image})
			}
		}
	}
	return told
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
