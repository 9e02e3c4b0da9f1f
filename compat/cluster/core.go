package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"time"

	"k8s-relay/compat/cluster/digest"
)

// status is what we read of `GET /statusz`: see src/migrate/status.rs.
type status struct {
	Stage   string
	Reducer struct {
		Connected, Settled bool
		Pods               int
	}
	Legacy, Native *feed
	Parity         *parity
}

type feed struct {
	Active, Listed bool
	Live           int
}

type parity struct {
	Comparing     bool
	Paused        *string
	Divergences   int
	Unsettled     int
	HeldSeconds   float64        `json:"held_seconds"`
	Excused       map[string]int `json:"excused"`
	LegacyDigest  string         `json:"legacy_digest"`
	NativeDigest  string         `json:"native_digest"`
	ByField       map[string]int `json:"by_field"`
	DivergentRows []any          `json:"rows"`
}

const statusTimeout = 10 * time.Second

// feedDigest is one row of the answer to `GET /digest`: what a feed has live.
type feedDigest struct {
	Feed          string
	Active, Exact bool
	Total         string
}

func (r *running) status(ctx context.Context) (status, error) {
	var s status
	text, err := r.ask(ctx, "/statusz")
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// ask talks to the relay's admin listener.
func (r *running) ask(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.admin)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://relay"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s %s", r.name, path, answer.Status, text)
	}
	return text, err
}

// checkCore compares with what the relay itself says: how many pods are announced and live, the
// digests of its feeds, and in a stage that compares, what has come of that.
func (r *running) checkCore(ctx context.Context, p snapshot) error {
	s, err := r.status(ctx)
	if err != nil {
		return err
	}
	want := r.view(p)
	var problems []error
	if !s.Reducer.Connected || !s.Reducer.Settled || s.Reducer.Pods != len(want) {
		problems = append(problems, fmt.Errorf("%s: the core says of the reducer %+v, there are %d pods", r.name, s.Reducer, len(want)))
	}
	for name, f := range map[string]*feed{"legacy": s.Legacy, "native": s.Native} {
		if f == nil || !f.Active && s.Parity == nil {
			continue
		}
		if !f.Listed || f.Live != len(want) {
			problems = append(problems, fmt.Errorf("%s: the core says of the %s feed %+v, there are %d pods", r.name, name, *f, len(want)))
		}
	}
	if s.Parity != nil {
		problems = append(problems, r.checkParity(*s.Parity, want))
	}
	return errors.Join(append(problems, r.checkFeeds(ctx, digest.Of(want).String()))...)
}

// checkFeeds holds the native source and a legacy watcher's active stream to the API server.
func (r *running) checkFeeds(ctx context.Context, expected string) error {
	text, err := r.ask(ctx, "/digest")
	if err != nil {
		return err
	}
	var feeds []feedDigest
	if err := json.Unmarshal(text, &feeds); err != nil {
		return err
	}
	looked := false
	for _, feed := range feeds {
		if feed.Feed == "legacy" && !feed.Active {
			continue
		}
		looked = looked || feed.Active
		if !feed.Exact || feed.Total != expected {
			return fmt.Errorf("%s: the core has %+v, not %s", r.name, feed, expected)
		}
	}
	if !looked {
		return fmt.Errorf("%s: no feed is active: %s", r.name, text)
	}
	return nil
}

func (r *running) checkParity(p parity, want map[string]digest.Pod) error {
	expected := digest.Of(want).String()
	if !p.Comparing || p.Divergences+p.Unsettled > 0 || p.LegacyDigest != p.NativeDigest {
		return fmt.Errorf("%s: the feeds are not equal: %+v", r.name, p)
	}
	// What is expected to differ is put right in the digests: then they are nobody else's.
	if len(p.Excused) == 0 && p.NativeDigest != expected {
		return fmt.Errorf("%s: the feeds have %s, the API server %s", r.name, p.NativeDigest, expected)
	}
	return nil
}

// migrate takes a step as an operator does.
func (r *running) migrate(ctx context.Context, b binaries, command string) error {
	cmd := exec.CommandContext(ctx, b.relay, "migrate", command, "--admin-address", "unix:"+r.admin)
	cmd.Env = environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("migrate %s: %w: %s", command, err, out)
	}
	return nil
}
