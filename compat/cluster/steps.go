package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// step changes the cluster, or what stands between it and the relays. When it returns, the
// cluster has done what it was asked; whether everybody has seen it is looked at afterwards.
type step struct {
	name string
	do   func(context.Context, *world) error
}

var steps = []step{
	{name: "workloads of every kind", do: everyKind},
	{name: "rolling updates", do: rollingUpdates},
	{name: "containers are restarted, twice", do: restarts},
	{name: "owners are deleted, their pods stay as orphans", do: orphans},
	{name: "the orphans are adopted again", do: adopted},
	{name: "a pod is released by its labels, and taken back", do: released},
	{name: "owners are deleted with all that is theirs", do: cascades},
	{name: "the API server is killed", do: apiServerKilled},
	{name: "etcd is compacted behind stopped watches: 410 for all", do: compacted},
	{name: "the right to read is taken and given again", do: rightsTaken},
	{name: "pods in thousands come and go", do: churn},
	{name: "a CronJob fires", do: cronJobFires},
	{name: "a CronJob is deleted, its Jobs stay as orphans", do: orphanedJobs},
	{name: "cutover and rollback while nothing moves", do: quietMigration},
	{name: "cutover and rollback under churn", do: busyMigration},
	{name: "everything is deleted", do: emptied},
}

func everyKind(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.namespace()
	// First, for it takes its time.
	s.cronJob("tick")
	s.deployment("web", 3)
	s.deployment("kept", 2)
	s.deployment("api", 2)
	s.replicaSet("bare-set", 2)
	s.daemonSet("agent", onHostNetwork)
	s.statefulSet("db", 2)
	s.job("once")
	s.pod("alone")
	s.pod("waits", annotated("controlplane/stay", "pending"))
	s.runs("web", 3, 1)
	s.runs("kept", 2, 1)
	s.runs("api", 2, 1)
	s.runs("bare-set", 2, 1)
	s.runs("agent", w.plane.Nodes, 1)
	s.runs("db", 2, 1)
	s.runs("alone", 1, 1)
	s.finished("once")
	return s.err
}

func rollingUpdates(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.rolls("Deployment", "web", 2)
	s.rolls("Deployment", "api", 2)
	s.rolls("StatefulSet", "db", 2)
	s.rolls("DaemonSet", "agent", 2)
	s.runs("web", 3, 2)
	s.runs("api", 2, 2)
	s.runs("db", 2, 2)
	s.runs("agent", w.plane.Nodes, 2)
	return s.err
}

func restarts(ctx context.Context, w *world) error {
	s := w.script(ctx)
	for count := range int32(2) {
		s.annotate("web", fmt.Sprintf(`{"controlplane/restart-after":"0s","controlplane/restarts":"%d"}`, count+1))
		s.restarted("web", count+1)
		// So that the containers between are seen, too.
		s.agrees()
	}
	return s.err
}

func cascades(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.deletes("Deployment", "api", metav1.DeletePropagationForeground)
	s.deletes("StatefulSet", "db", metav1.DeletePropagationBackground)
	s.deletes("Job", "once", metav1.DeletePropagationBackground)
	s.gone("api")
	s.gone("db")
	s.gone("once")
	return s.err
}

func apiServerKilled(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.control("/restart-apiserver?signal=KILL&down=1s")
	s.scale("web", 5)
	s.runs("web", 5, 2)
	return s.err
}

// compacted stops all that watches, lets things happen, and makes sure that no watch can go on
// from where it was.
func compacted(ctx context.Context, w *world) error {
	s := w.script(ctx)
	listed := w.logged("answers 410", "starting over")
	w.signal(syscall.SIGSTOP)
	s.scale("web", 2)
	s.deployment("late", 3)
	s.deletes("Pod", "alone", metav1.DeletePropagationBackground)
	s.runs("web", 2, 2)
	s.runs("late", 3, 1)
	s.gone("alone")
	s.control("/compact")
	s.control("/restart-apiserver?signal=KILL")
	w.signal(syscall.SIGCONT)
	s.waits(func() error { return w.allLogged(listed, "answers 410", "starting over") })
	return s.err
}

// signal goes to all that watch.
func (w *world) signal(s syscall.Signal) {
	for _, r := range w.over {
		if r.native {
			r.relay.signal(s)
		}
		if r.watch != nil {
			r.watch.signal(s)
		}
	}
}

// rightsTaken takes the role from the reader, and cuts all watches, for those that are open stay.
func rightsTaken(ctx context.Context, w *world) error {
	s := w.script(ctx)
	bindings := w.plane.client.RbacV1().ClusterRoleBindings()
	var binding *rbacv1.ClusterRoleBinding
	s.do(func() (err error) {
		binding, err = bindings.Get(ctx, "reader", metav1.GetOptions{})
		return err
	})
	refused := w.logged("forbidden")
	var known map[string]string
	s.do(func() (err error) {
		known, err = w.known()
		return err
	})
	s.do(func() error { return bindings.Delete(ctx, "reader", metav1.DeleteOptions{}) })
	s.control("/restart-apiserver?signal=KILL")
	s.waits(func() error { return w.allLogged(refused, "forbidden") })
	s.scale("web", 4)
	s.runs("web", 4, 2)
	// Who watches by itself keeps what it knows: a refusal is no news about pods.
	s.do(func() error { return w.stillKnown(known) })
	s.do(func() error {
		given := &rbacv1.ClusterRoleBinding{ObjectMeta: named("reader"), RoleRef: binding.RoleRef, Subjects: binding.Subjects}
		_, err := bindings.Create(ctx, given, create)
		return err
	})
	return s.err
}

// known gives what the reducers of those set-ups know that have no watcher.
func (w *world) known() (map[string]string, error) {
	digests := map[string]string{}
	for _, r := range w.over {
		if r.watcher {
			continue
		}
		sum, err := r.reducer.sum()
		if err != nil {
			return nil, err
		}
		digests[r.name] = sum.Digest
	}
	return digests, nil
}

func (w *world) stillKnown(before map[string]string) error {
	after, err := w.known()
	for name, digest := range after {
		if before[name] != digest {
			err = errors.Join(err, fmt.Errorf("%s: without the right to read it knows %s, before it was %s", name, digest, before[name]))
		}
	}
	return err
}

// churn makes and deletes pods by Deployments that are rolled and scaled meanwhile.
func churn(ctx context.Context, w *world) error {
	const deployments = 10
	replicas := 100
	if w.short {
		replicas = 40
	}
	errs := make([]error, deployments)
	var wait sync.WaitGroup
	for i := range deployments {
		wait.Go(func() {
			s, app := w.script(ctx), fmt.Sprintf("churn-%d", i)
			s.deployment(app, replicas)
			s.runs(app, replicas, 1)
			s.rolls("Deployment", app, 2)
			s.runs(app, replicas, 2)
			if i%2 == 0 {
				s.scale(app, replicas/2)
				s.runs(app, replicas/2, 2)
			} else {
				s.deletes("Deployment", app, metav1.DeletePropagationBackground)
				s.gone(app)
			}
			errs[i] = s.err
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func cronJobFires(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.finished("tick")
	// It would fire again while we look.
	s.do(func() error {
		patch := []byte(`{"spec":{"suspend":true}}`)
		_, err := w.plane.client.BatchV1().CronJobs(ns).Patch(ctx, "tick", types.MergePatchType, patch, patched)
		return err
	})
	return s.err
}

func emptied(ctx context.Context, w *world) error {
	s := w.script(ctx)
	s.do(func() error { return s.api.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{}) })
	s.waits(func() error {
		pods, err := s.api.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return err
	})
	return s.err
}
