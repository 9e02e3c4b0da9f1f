package main

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"k8s-relay/compat/watcher/collector"
)

// infoOf is what is sent to the relay of an object of one of the three kinds.
func infoOf(event collector.Info_Event, object runtime.Object) *collector.Info {
	info := &collector.Info{Event: event}
	switch object := object.(type) {
	case *appsv1.ReplicaSet:
		info.Type = collector.Info_K8S_REPLICASET
		info.RsInfo = &collector.ReplicaSetInfo{Uid: string(object.UID), Owner: ownerOf(object)}
	case *batchv1.Job:
		info.Type = collector.Info_K8S_JOB
		info.JobInfo = &collector.JobInfo{Uid: string(object.UID), Owner: ownerOf(object)}
	case *corev1.Pod:
		info.Type = collector.Info_K8S_POD
		info.PodInfo = podInfo(object)
	}
	return info
}

func podInfo(pod *corev1.Pod) *collector.PodInfo {
	info := &collector.PodInfo{
		Uid:           string(pod.UID),
		Ip:            pod.Status.PodIP,
		Owner:         ownerOf(pod),
		Ns:            pod.Namespace,
		IsHostNetwork: pod.Spec.HostNetwork,
		Name:          pod.Name,
	}
	var images []string
	for _, status := range pod.Status.ContainerStatuses {
		images = append(images, "'"+status.Image+"'")
		info.ContainerInfos = append(info.ContainerInfos, &collector.ContainerInfo{
			Id: status.ContainerID, Name: status.Name, Image: status.Image,
		})
	}
	slices.Sort(images)
	info.Version = strings.Join(images, ",")
	return info
}

// ownerOf gives the controller, if there is one. Its API group is not sent.
func ownerOf(object metav1.Object) *collector.OwnerInfo {
	controller := metav1.GetControllerOfNoCopy(object)
	if controller == nil {
		return nil
	}
	return &collector.OwnerInfo{Uid: string(controller.UID), Name: controller.Name, Kind: controller.Kind}
}
