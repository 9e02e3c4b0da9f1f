package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s-relay/compat/cluster/digest"
	"k8s-relay/compat/watcher/synthetic"
)

// loadLimit is how long the relay may take to announce them all.
const loadLimit = 5 * time.Minute

// runLoad drives a relay with the watcher's gRPC stack at full speed: the stream must live (no
// GOAWAY, D6), and every pod must arrive.
func runLoad(ctx context.Context, o options) error {
	var failed error
	for _, size := range []synthetic.Size{synthetic.Tiny, synthetic.Large} {
		pods := o.load
		if o.short {
			pods /= map[synthetic.Size]int{synthetic.Tiny: 5, synthetic.Large: 20}[size]
		}
		began := time.Now()
		facts, err := loadOne(ctx, o, size, pods)
		reportStep(fmt.Sprintf("the watcher at full speed: %d %s pods", pods, size), began, facts, err)
		failed = errors.Join(failed, err)
	}
	return failed
}

func loadOne(ctx context.Context, o options, size synthetic.Size, pods int) (facts string, err error) {
	dir := filepath.Join(o.dir, "load-"+string(size))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	expected := syntheticDigest(size, pods).String()
	r, err := o.start(ctx, dir, setup{name: "load", relay: []string{"--source", "legacy"}}, "")
	defer func() { err = errors.Join(err, r.end()) }()
	if err != nil {
		return "", err
	}
	report := filepath.Join(dir, "report.json")
	out, err := os.Create(report)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(o.watcher, "load", "-server-address", r.server, "-pods", fmt.Sprint(pods), "-size", string(size))
	cmd.Stdout = out
	if err := r.listens(ctx); err != nil {
		return "", err
	}
	r.watch, err = start(dir, "load-watcher", cmd)
	out.Close()
	if err != nil {
		return "", err
	}
	began := time.Now()
	if err := until(ctx, loadLimit, func() error {
		if err := r.alive(); err != nil {
			return err
		}
		s, err := r.reducer.sum()
		if err == nil && s.Digest != expected {
			err = fmt.Errorf("the reducer has %s, not %s; %+v", s.Digest, expected, s)
		}
		return err
	}); err != nil {
		return "", err
	}
	announced := time.Since(began).Seconds()
	var sent struct {
		Messages, Bytes int
		Seconds         float64
	}
	// The relay may be done before the watcher has said that it is.
	err = until(ctx, stepLimit, func() error {
		text, err := os.ReadFile(report)
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &sent)
	})
	return fmt.Sprintf("%d messages, %d MiB: sent in %.1f s, announced in %.1f s", sent.Messages, sent.Bytes>>20, sent.Seconds, announced), err
}

func syntheticDigest(size synthetic.Size, pods int) digest.Digest {
	t := newExpectedState()
	var all digest.Digest
	for i := range pods {
		set, pod := synthetic.ReplicaSet(i/synthetic.PodsPerSet, size), synthetic.Pod(i, size)
		t.controllers[set.UID] = metav1.GetControllerOf(set)
		for _, pod := range t.of([]corev1.Pod{*pod}).main {
			all.Add(pod)
		}
	}
	return all
}
