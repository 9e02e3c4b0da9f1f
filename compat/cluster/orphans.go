package main

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// orphans deletes owners as `kubectl delete --cascade=orphan` does: one whose pods are its own, and
// one whose ReplicaSet stands between.
func orphans(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.deletes("ReplicaSet", "bare-set", metav1.DeletePropagationOrphan)
	s.deletes("Deployment", "kept", metav1.DeletePropagationOrphan)
	s.controlled("Pod", "bare-set", "")
	s.controlled("ReplicaSet", "kept", "")
	// None has gone with its owner.
	s.runs("bare-set", 2, 1)
	s.runs("kept", 2, 1)
	return s.err
}

// adopted makes the same owners once more: they take what their selectors find.
func adopted(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.replicaSet("bare-set", 2)
	s.deployment("kept", 2)
	s.controlled("Pod", "bare-set", "ReplicaSet")
	s.controlled("ReplicaSet", "kept", "Deployment")
	s.runs("bare-set", 2, 1)
	s.runs("kept", 2, 1)
	return s.err
}

// released takes the label from a pod, as people do to look at it in peace: its ReplicaSet lets go of
// it and makes another one. With the label it is taken back, and one too many goes.
func released(ctx context.Context, w *world) error {
	s := w.script(ctx)
	var name string
	s.do(func() error {
		pods, err := s.podsOf("kept")
		if err == nil {
			name = pods[0].Name
		}
		return err
	})
	s.labels(name, "quarantined")
	s.controlled("Pod", "quarantined", "")
	s.runs("kept", 2, 1)
	// It is nobody's here, and must be so everywhere.
	s.agrees()
	s.labels(name, "kept")
	s.controlled("Pod", "kept", "ReplicaSet")
	s.runs("kept", 2, 1)
	return s.err
}

// orphanedJobs lets the Jobs of a CronJob outlive it.
func orphanedJobs(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.deletes("CronJob", "tick", metav1.DeletePropagationOrphan)
	s.controlled("Job", "tick", "")
	return s.err
}

func (s *script) labels(pod, app string) {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"app":%q}}}`, app)
	s.do(func() error {
		_, err := s.api.CoreV1().Pods(ns).Patch(s.ctx, pod, types.MergePatchType, patch, patched)
		return err
	})
}

// controlled waits until all objects of the app have a controller of this kind; with "" none.
func (s *script) controlled(kind, app, by string) {
	s.waits(func() error {
		all, err := s.objectsOf(kind, app)
		if err == nil && len(all) == 0 {
			err = fmt.Errorf("%s: there is no %s", app, kind)
		}
		for _, one := range all {
			owner := metav1.GetControllerOf(one)
			if owner == nil && by != "" {
				err = fmt.Errorf("%s is nobody's", one.GetName())
			}
			if owner != nil && owner.Kind != by {
				err = fmt.Errorf("%s belongs to %s %s", one.GetName(), owner.Kind, owner.Name)
			}
		}
		return err
	})
}

func (s *script) objectsOf(kind, app string) ([]metav1.Object, error) {
	options := metav1.ListOptions{LabelSelector: "app=" + app}
	var all []metav1.Object
	switch kind {
	case "ReplicaSet":
		list, err := s.api.AppsV1().ReplicaSets(ns).List(s.ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			all = append(all, &list.Items[i])
		}
	case "Job":
		list, err := s.api.BatchV1().Jobs(ns).List(s.ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			// A CronJob labels its pods, not its Jobs.
			if list.Items[i].Spec.Template.Labels["app"] == app {
				all = append(all, &list.Items[i])
			}
		}
	default:
		pods, err := s.podsOf(app)
		if err != nil {
			return nil, err
		}
		for i := range pods {
			all = append(all, &pods[i])
		}
	}
	return all, nil
}
