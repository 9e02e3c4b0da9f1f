package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s-relay/compat/cluster/digest"
)

// setup is one way to stand between the API server and a reducer.
type setup struct {
	name string
	// relay is what the relay is started with.
	relay []string
	// watcher: the Go watcher streams to it.
	watcher bool
	// native: it has watches of its own.
	native bool
	// all: init and ephemeral containers are announced, too. A watcher sends none (protocol 13.0).
	all bool
	// once: pods are as they were announced first (D14), not as they are.
	once bool
}

// setups run at the same time, over the same cluster.
var setups = []setup{
	{
		name: "legacy", watcher: true,
		relay: []string{"--source", "legacy", "--reannounce", "on-change"},
	},
	{
		name: "native", native: true, all: true,
		relay: []string{"--source", "native", "--reannounce", "on-change"},
	},
	{
		name: "shadow", watcher: true, native: true,
		relay: []string{"--source", "shadow", "--reannounce", "on-change", "--containers", "main", "--settle", "2s", "--parity-hold", "3s"},
	},
	{
		name: "once", native: true, all: true, once: true,
		relay: []string{"--source", "native", "--reannounce", "never"},
	},
}

// binaries are the programs of the suite.
type binaries struct {
	relay, watcher, plane string
}

// running is a set-up with its processes.
type running struct {
	setup
	reducer *reducer
	relay   *process
	watch   *process
	// server is where the relay takes streams, admin where it answers.
	server, admin string
}

func (b binaries) start(ctx context.Context, dir string, s setup, kubeconfig string) (*running, error) {
	r := &running{setup: s}
	var err error
	if r.reducer, err = startReducer(ctx, dir, s.name, b.relay); err != nil {
		return r, err
	}
	_, port, err := net.SplitHostPort(r.reducer.address)
	if err != nil {
		return r, err
	}
	if r.server, err = freeAddress(); err != nil {
		return r, err
	}
	r.admin = filepath.Join(dir, s.name+".sock")
	args := append(slices.Clone(s.relay), "--intake-host", "127.0.0.1", "--intake-port", port, "--server-address", r.server,
		"--admin-address", "unix:"+r.admin, "--cloud", "none", "--info")
	if s.native {
		args = append(args, "--kubeconfig", kubeconfig)
	}
	if r.relay, err = start(dir, s.name+"-relay", exec.Command(b.relay, args...)); err != nil {
		return r, err
	}
	if s.watcher && kubeconfig != "" {
		r.watch, err = start(dir, s.name+"-watcher", exec.Command(b.watcher,
			"--server-address", r.server, "--kubeconfig", kubeconfig, "--log-level", "info", "--rotate", "10s"))
	}
	return r, err
}

// end ends what was started, the source first, and fails if one did not end well.
func (r *running) end() error {
	var all []error
	if r.watch != nil {
		all = append(all, r.watch.end())
	}
	if r.relay != nil {
		all = append(all, r.relay.end())
	}
	if r.reducer != nil {
		all = append(all, r.reducer.end())
	}
	return errors.Join(all...)
}

// listens waits until the relay takes streams.
func (r *running) listens(ctx context.Context) error {
	return until(ctx, 30*time.Second, func() error {
		conn, err := net.Dial("tcp", r.server)
		if err == nil {
			conn.Close()
		}
		return errors.Join(err, r.alive())
	})
}

// logged counts how often relay and watcher have said one of these.
func (r *running) logged(words ...string) int {
	text := r.relay.logged()
	if r.watch != nil {
		text += r.watch.logged()
	}
	count := 0
	for _, word := range words {
		count += strings.Count(text, word)
	}
	return count
}

func (r *running) alive() error {
	if r.watch != nil {
		if err := r.watch.alive(); err != nil {
			return err
		}
	}
	return errors.Join(r.relay.alive(), r.reducer.alive())
}

// view is what this set-up should show of what there is.
func (r *running) view(p snapshot) map[string]digest.Pod {
	if r.all {
		return p.all
	}
	return p.main
}

// check fails if the reducer of this set-up does not know what it should, or the core does not
// say so.
func (r *running) check(ctx context.Context, t *expectedState, p snapshot) error {
	if err := r.alive(); err != nil {
		return err
	}
	want := r.view(p)
	s, err := r.reducer.sum()
	if err != nil {
		return err
	}
	if s.Connection == nil || s.End != "open" {
		return fmt.Errorf("%s: the reducer has no connection", r.name)
	}
	if expected := digest.Of(want).String(); s.Digest != expected {
		if !r.once {
			return fmt.Errorf("%s: the reducer has %s, the API server %s", r.name, s.Digest, expected)
		}
		if err := r.checkAllowed(t, want); err != nil {
			return err
		}
	}
	return r.checkCore(ctx, p)
}

// checkAllowed compares once more, with the expected differences put right.
func (r *running) checkAllowed(t *expectedState, want map[string]digest.Pod) error {
	got, s, err := r.reducer.pods()
	if err != nil {
		return err
	}
	if d := digest.Of(got).String(); d != s.Digest {
		return fmt.Errorf("%s: the reducer's digest is %s, that of its pods %s", r.name, s.Digest, d)
	}
	if a, b := digest.Of(r.allow(t, want, got)), digest.Of(want); a != b {
		return fmt.Errorf("%s: the reducer has %s, the API server %s", r.name, a, b)
	}
	return nil
}

// allow gives the reducer's pods, with the expected differences from the API server put right.
func (r *running) allow(t *expectedState, want, got map[string]digest.Pod) map[string]digest.Pod {
	allowed := map[string]digest.Pod{}
	for uid, pod := range got {
		now, known := want[uid]
		if !known {
			allowed[uid] = pod
			continue
		}
		if r.once {
			pod = once(t, now, pod)
		}
		allowed[uid] = pod
	}
	return allowed
}

// once puts right a pod that was announced once (D14): it is as it was at first; and of its containers
// those that are gone stay until it goes.
func once(t *expectedState, now, pod digest.Pod) digest.Pod {
	had := t.first[pod.UID]
	had.Containers = pod.Containers
	if digest.Of(map[string]digest.Pod{pod.UID: had}) != digest.Of(map[string]digest.Pod{pod.UID: pod}) {
		return pod
	}
	for _, c := range now.Containers {
		if !slices.Contains(pod.Containers, c) {
			return pod
		}
	}
	for _, c := range pod.Containers {
		if !t.ids[pod.UID][c.ID] {
			return pod
		}
	}
	return now
}

// differences says which pods differ, with both sides; at most ten.
func (r *running) differences(t *expectedState, p snapshot) string {
	got, _, err := r.reducer.pods()
	if err != nil {
		return err.Error()
	}
	want := r.view(p)
	got = r.allow(t, want, got)
	var rows []string
	for uid, pod := range want {
		other, known := got[uid]
		switch {
		case !known:
			rows = append(rows, fmt.Sprintf("missing: %s", show(pod)))
		case digest.Of(map[string]digest.Pod{uid: pod}) != digest.Of(map[string]digest.Pod{uid: other}):
			rows = append(rows, fmt.Sprintf("API server: %s\n    %-10s: %s", show(pod), r.name, show(other)))
		}
	}
	for uid, pod := range got {
		if _, known := want[uid]; !known {
			rows = append(rows, fmt.Sprintf("extra: %s", show(pod)))
		}
	}
	slices.Sort(rows)
	count := len(rows)
	rows = rows[:min(10, count)]
	return fmt.Sprintf("%s: %d pods differ\n    %s", r.name, count, strings.Join(rows, "\n    "))
}

func show(pod digest.Pod) string {
	var containers []string
	for _, c := range pod.Containers {
		containers = append(containers, fmt.Sprintf("%s %s %s", c.Name, c.Image, c.ID))
	}
	slices.Sort(containers)
	return fmt.Sprintf("%s/%s (%s) %s owner %d %s (%s) host network %d version %s containers %v",
		pod.Namespace, pod.Name, pod.UID, pod.IP, pod.OwnerKind, pod.OwnerName, pod.OwnerUID, pod.HostNetwork, pod.Version, containers)
}

// freeAddress picks below the kernel's range for outgoing connections: a client that dials it
// before the server listens would otherwise one day be given that very port, and meet itself.
func freeAddress() (string, error) {
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(6_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String(), nil
	}
	return "", errors.New("no free port")
}
