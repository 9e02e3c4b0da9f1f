package main

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"google.golang.org/protobuf/proto"

	"k8s-relay/compat/watcher/collector"
)

func ownedBy(references ...metav1.OwnerReference) metav1.ObjectMeta {
	return metav1.ObjectMeta{UID: "u", Name: "n", Namespace: "s", OwnerReferences: references}
}

func reference(name string, controller bool) metav1.OwnerReference {
	return metav1.OwnerReference{UID: "o", Name: name, Kind: "Kind", Controller: &controller}
}

func TestWhatIsToldOfAnObject(t *testing.T) {
	owner := &collector.OwnerInfo{Uid: "o", Name: "second", Kind: "Kind"}
	for what, c := range map[string]struct {
		object runtime.Object
		sent   *collector.Info
	}{
		"a ReplicaSet is its uid and its controller": {
			&appsv1.ReplicaSet{ObjectMeta: ownedBy(reference("first", false), reference("second", true))},
			&collector.Info{RsInfo: &collector.ReplicaSetInfo{Uid: "u", Owner: owner}},
		},
		"a Job without a controller has no owner": {
			&batchv1.Job{ObjectMeta: ownedBy(reference("first", false))},
			&collector.Info{Type: collector.Info_K8S_JOB, JobInfo: &collector.JobInfo{Uid: "u"}},
		},
		"a pod's version is its images, quoted and sorted; its containers keep their order": {
			&corev1.Pod{
				ObjectMeta: ownedBy(reference("second", true)), Spec: corev1.PodSpec{HostNetwork: true},
				Status: corev1.PodStatus{
					PodIP:                 "10.0.0.1",
					InitContainerStatuses: []corev1.ContainerStatus{{Name: "init", Image: "i"}},
					ContainerStatuses: []corev1.ContainerStatus{
						{Name: "b", Image: "z:1", ContainerID: "containerd://1"}, {Name: "a", Image: "y:2"},
					},
				},
			},
			&collector.Info{Type: collector.Info_K8S_POD, PodInfo: &collector.PodInfo{
				Uid: "u", Name: "n", Ns: "s", Ip: "10.0.0.1", IsHostNetwork: true, Owner: owner, Version: "'y:2','z:1'",
				ContainerInfos: []*collector.ContainerInfo{{Id: "containerd://1", Name: "b", Image: "z:1"}, {Name: "a", Image: "y:2"}},
			}},
		},
	} {
		if sent := infoOf(collector.Info_ADDED, c.object); !proto.Equal(sent, c.sent) {
			t.Errorf("%s: %v, not %v", what, sent, c.sent)
		}
	}
}
