package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// ns is where the suite's workloads live.
const ns = "suite"

// stepLimit is how long the control plane may take to do what it was asked.
const stepLimit = 90 * time.Second

// script does one thing after another in the cluster, until one fails.
type script struct {
	*world
	ctx context.Context
	api kubernetes.Interface
	err error
}

func (w *world) script(ctx context.Context) *script {
	return &script{world: w, ctx: ctx, api: w.plane.client}
}

// do goes on, unless something has failed before.
func (s *script) do(f func() error) {
	if s.err == nil {
		s.err = f()
	}
}

// waits until there is no error.
func (s *script) waits(f func() error) {
	s.do(func() error { return until(s.ctx, stepLimit, f) })
}

// agrees waits until everybody knows the same.
func (s *script) agrees() {
	s.do(func() error {
		_, err := s.agree(s.ctx)
		return err
	})
}

// === what is made ===

func labels(app string) map[string]string { return map[string]string{"app": app} }

func selector(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: labels(app)}
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func image(app string, version int) string {
	return fmt.Sprintf("registry.example/%s:%d", app, version)
}

// change departs from the usual pod.
type change func(*corev1.PodTemplateSpec)

// template has two containers and one before them.
func template(app string, changes ...change) corev1.PodTemplateSpec {
	t := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels(app)},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "init", Image: "registry.example/init:1"}},
			Containers: []corev1.Container{
				{Name: "main", Image: image(app, 1)}, {Name: "sidecar", Image: "registry.example/sidecar:1"},
			},
		},
	}
	for _, change := range changes {
		change(&t)
	}
	return t
}

func onHostNetwork(t *corev1.PodTemplateSpec) { t.Spec.HostNetwork = true }

func toItsEnd(t *corev1.PodTemplateSpec) { t.Spec.RestartPolicy = corev1.RestartPolicyNever }

func annotated(key, value string) change {
	return func(t *corev1.PodTemplateSpec) { t.Annotations = map[string]string{key: value} }
}

var create = metav1.CreateOptions{}

func (s *script) namespace() {
	s.do(func() error {
		_, err := s.api.CoreV1().Namespaces().Create(s.ctx, &corev1.Namespace{ObjectMeta: named(ns)}, create)
		return err
	})
	s.waits(func() error {
		_, err := s.api.CoreV1().ServiceAccounts(ns).Get(s.ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (s *script) deployment(app string, replicas int, changes ...change) {
	count := int32(replicas)
	s.do(func() error {
		_, err := s.api.AppsV1().Deployments(ns).Create(s.ctx, &appsv1.Deployment{
			ObjectMeta: named(app),
			Spec:       appsv1.DeploymentSpec{Replicas: &count, Selector: selector(app), Template: template(app, changes...)},
		}, create)
		return err
	})
}

func (s *script) replicaSet(app string, replicas int32) {
	s.do(func() error {
		_, err := s.api.AppsV1().ReplicaSets(ns).Create(s.ctx, &appsv1.ReplicaSet{
			ObjectMeta: named(app),
			Spec:       appsv1.ReplicaSetSpec{Replicas: &replicas, Selector: selector(app), Template: template(app)},
		}, create)
		return err
	})
}

func (s *script) daemonSet(app string, changes ...change) {
	s.do(func() error {
		_, err := s.api.AppsV1().DaemonSets(ns).Create(s.ctx, &appsv1.DaemonSet{
			ObjectMeta: named(app), Spec: appsv1.DaemonSetSpec{Selector: selector(app), Template: template(app, changes...)},
		}, create)
		return err
	})
}

func (s *script) statefulSet(app string, replicas int32) {
	s.do(func() error {
		_, err := s.api.AppsV1().StatefulSets(ns).Create(s.ctx, &appsv1.StatefulSet{
			ObjectMeta: named(app),
			Spec:       appsv1.StatefulSetSpec{Replicas: &replicas, ServiceName: app, Selector: selector(app), Template: template(app)},
		}, create)
		return err
	})
}

func (s *script) job(app string) {
	s.do(func() error {
		_, err := s.api.BatchV1().Jobs(ns).Create(s.ctx, &batchv1.Job{
			ObjectMeta: named(app), Spec: batchv1.JobSpec{Template: template(app, toItsEnd)},
		}, create)
		return err
	})
}

func (s *script) cronJob(app string) {
	s.do(func() error {
		_, err := s.api.BatchV1().CronJobs(ns).Create(s.ctx, &batchv1.CronJob{
			ObjectMeta: named(app),
			Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{
				Spec: batchv1.JobSpec{Template: template(app, toItsEnd)},
			}},
		}, create)
		return err
	})
}

func (s *script) pod(app string, changes ...change) {
	t := template(app, changes...)
	t.Name = app
	s.do(func() error {
		_, err := s.api.CoreV1().Pods(ns).Create(s.ctx, &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}, create)
		return err
	})
}

// === what is changed ===

var patched = metav1.PatchOptions{}

func (s *script) scale(app string, replicas int) {
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
	s.do(func() error {
		_, err := s.api.AppsV1().Deployments(ns).Patch(s.ctx, app, types.MergePatchType, []byte(patch), patched)
		return err
	})
}

// rolls brings a Deployment, StatefulSet or DaemonSet to another version.
func (s *script) rolls(kind, app string, version int) {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":%q}]}}}}`, image(app, version))
	s.do(func() error {
		var err error
		switch kind {
		case "StatefulSet":
			_, err = s.api.AppsV1().StatefulSets(ns).Patch(s.ctx, app, types.StrategicMergePatchType, patch, patched)
		case "DaemonSet":
			_, err = s.api.AppsV1().DaemonSets(ns).Patch(s.ctx, app, types.StrategicMergePatchType, patch, patched)
		default:
			_, err = s.api.AppsV1().Deployments(ns).Patch(s.ctx, app, types.StrategicMergePatchType, patch, patched)
		}
		return err
	})
}

// annotate changes all pods of the app.
func (s *script) annotate(app, annotations string) {
	patch := []byte(`{"metadata":{"annotations":` + annotations + `}}`)
	s.do(func() error {
		pods, err := s.podsOf(app)
		for _, pod := range pods {
			if err == nil {
				_, err = s.api.CoreV1().Pods(ns).Patch(s.ctx, pod.Name, types.MergePatchType, patch, patched)
			}
		}
		return err
	})
}

func deleting(how metav1.DeletionPropagation) metav1.DeleteOptions {
	return metav1.DeleteOptions{PropagationPolicy: &how}
}

// deletes a Deployment, ReplicaSet, StatefulSet, Job, CronJob or pod.
func (s *script) deletes(kind, app string, how metav1.DeletionPropagation) {
	s.do(func() error {
		switch kind {
		case "Deployment":
			return s.api.AppsV1().Deployments(ns).Delete(s.ctx, app, deleting(how))
		case "ReplicaSet":
			return s.api.AppsV1().ReplicaSets(ns).Delete(s.ctx, app, deleting(how))
		case "StatefulSet":
			return s.api.AppsV1().StatefulSets(ns).Delete(s.ctx, app, deleting(how))
		case "Job":
			return s.api.BatchV1().Jobs(ns).Delete(s.ctx, app, deleting(how))
		case "CronJob":
			return s.api.BatchV1().CronJobs(ns).Delete(s.ctx, app, deleting(how))
		}
		return s.api.CoreV1().Pods(ns).Delete(s.ctx, app, deleting(how))
	})
}

// control asks the control plane to do something to itself.
func (s *script) control(path string) {
	s.do(func() error { return s.plane.control(s.ctx, path) })
}

// === what is waited for ===

func (s *script) podsOf(app string) ([]corev1.Pod, error) {
	list, err := s.api.CoreV1().Pods(ns).List(s.ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// runs waits until exactly so many pods of the app are there, and all run with this version.
func (s *script) runs(app string, count, version int) {
	s.waits(func() error {
		pods, err := s.podsOf(app)
		if err != nil {
			return err
		}
		ready := 0
		for _, pod := range pods {
			statuses := pod.Status.ContainerStatuses
			if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil && len(statuses) == 2 && statuses[0].Image == image(app, version) {
				ready++
			}
		}
		if ready != count || len(pods) != count {
			return fmt.Errorf("%s: %d pods, %d of them run with version %d, not %d", app, len(pods), ready, version, count)
		}
		return nil
	})
}

// gone waits until no pod of the app is left.
func (s *script) gone(app string) { s.runs(app, 0, 0) }

// finished waits until at least one pod of the app has come to its end.
func (s *script) finished(app string) {
	s.waits(func() error {
		pods, err := s.podsOf(app)
		for _, pod := range pods {
			if pod.Status.Phase == corev1.PodSucceeded {
				return nil
			}
		}
		if err == nil {
			err = fmt.Errorf("%s: none of %d pods has ended", app, len(pods))
		}
		return err
	})
}

// restarted waits until all containers of the app have been restarted so many times.
func (s *script) restarted(app string, count int32) {
	s.waits(func() error {
		pods, err := s.podsOf(app)
		for _, pod := range pods {
			for _, status := range pod.Status.ContainerStatuses {
				if status.RestartCount != count {
					return fmt.Errorf("%s %s: %d restarts, not %d", pod.Name, status.Name, status.RestartCount, count)
				}
			}
		}
		return err
	})
}
