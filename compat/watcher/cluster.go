package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"k8s-relay/compat/watcher/collector"
)

// kind is one of the three kinds of objects, and where its watch stands.
type kind struct {
	name  string
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)

	version string // of the list, then of the last event
	events  watch.Interface
}

// kindsOf gives them in the order in which they are listed: owners before pods.
func kindsOf(client kubernetes.Interface) [3]*kind {
	sets, jobs, pods := client.AppsV1().ReplicaSets(""), client.BatchV1().Jobs(""), client.CoreV1().Pods("")
	return [3]*kind{
		{
			name:  "replicasets",
			list:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return sets.List(ctx, o) },
			watch: sets.Watch,
		},
		{
			name:  "jobs",
			list:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return jobs.List(ctx, o) },
			watch: jobs.Watch,
		},
		{
			name:  "pods",
			list:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) },
			watch: pods.Watch,
		},
	}
}

// listAndWatch sends all that there is, then all that happens, until something fails.
func listAndWatch(ctx context.Context, client kubernetes.Interface, rotate time.Duration, send sender) error {
	kinds := kindsOf(client)
	for _, k := range kinds {
		if err := k.sendList(ctx, send); err != nil {
			return fmt.Errorf("list %s: %w", k.name, err)
		}
	}
	defer func() {
		for _, k := range kinds {
			k.close()
		}
	}()
	open := func() error {
		for _, k := range kinds {
			if err := k.open(ctx); err != nil {
				return fmt.Errorf("watch %s from %s: %w", k.name, k.version, err)
			}
		}
		return nil
	}
	if err := open(); err != nil {
		return err
	}
	rotation := time.NewTicker(rotate)
	defer rotation.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rotation.C:
			err = open()
			slog.Info("watches rotated")
		case event, more := <-kinds[0].events.ResultChan():
			err = kinds[0].tellEvent(event, more, send)
		case event, more := <-kinds[1].events.ResultChan():
			err = kinds[1].tellEvent(event, more, send)
		case event, more := <-kinds[2].events.ResultChan():
			err = kinds[2].tellEvent(event, more, send)
		}
		if err != nil {
			return err
		}
	}
}

// sendList fetches the list whole and sends each object as ADDED.
func (k *kind) sendList(ctx context.Context, send sender) error {
	list, err := k.list(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	facts, err := meta.ListAccessor(list)
	if err != nil {
		return err
	}
	k.version = facts.GetResourceVersion()
	slog.Info("listed", "kind", k.name, "version", k.version)
	return meta.EachListItem(list, func(object runtime.Object) error {
		return send(infoOf(collector.Info_ADDED, object))
	})
}

// open watches from where the list or the watch before stands. What the latter has left unread is
// sent by the new one.
func (k *kind) open(ctx context.Context) error {
	k.close()
	events, err := k.watch(ctx, metav1.ListOptions{ResourceVersion: k.version})
	if err == nil {
		k.events = events
	}
	return err
}

func (k *kind) close() {
	if k.events != nil {
		k.events.Stop()
	}
}

func (k *kind) tellEvent(event watch.Event, more bool, send sender) error {
	if !more {
		return fmt.Errorf("the watch of %s has ended", k.name)
	}
	var verb collector.Info_Event
	switch event.Type {
	case watch.Added:
		verb = collector.Info_ADDED
	case watch.Modified:
		verb = collector.Info_MODIFIED
	case watch.Deleted:
		verb = collector.Info_DELETED
	case watch.Bookmark:
		return nil
	default:
		return fmt.Errorf("the watch of %s: %s %v", k.name, event.Type, event.Object)
	}
	facts, err := meta.Accessor(event.Object)
	if err != nil {
		return err
	}
	k.version = facts.GetResourceVersion()
	return send(infoOf(verb, event.Object))
}
