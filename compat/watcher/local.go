package main

import (
	"context"
	"time"

	"k8s-relay/compat/watcher/collector"
	"k8s-relay/compat/watcher/synthetic"
)

const (
	localSets  = 10
	localPause = time.Second
)

// localTest sends a small cluster that is not there, in which one pod takes another's place
// each second.
func localTest(ctx context.Context, send sender) error {
	const pods = localSets * synthetic.PodsPerSet
	for i := range localSets {
		if err := send(infoOf(collector.Info_ADDED, synthetic.ReplicaSet(i, synthetic.Tiny))); err != nil {
			return err
		}
	}
	for i := range pods {
		if err := send(infoOf(collector.Info_ADDED, synthetic.Pod(i, synthetic.Tiny))); err != nil {
			return err
		}
	}
	tick := time.NewTicker(localPause)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % pods {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		pod := synthetic.Pod(i, synthetic.Tiny)
		for _, event := range []collector.Info_Event{collector.Info_DELETED, collector.Info_ADDED} {
			if err := send(infoOf(event, pod)); err != nil {
				return err
			}
		}
	}
}
