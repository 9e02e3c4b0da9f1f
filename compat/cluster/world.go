package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"k8s-relay/compat/cluster/digest"
)

// world is the control plane, the set-ups over it, and what we have seen of the expected state.
type world struct {
	options
	plane    *plane
	over     []*running
	expected *expectedState
}

// settleLimit is how long it may take until all agree. A relay that was refused, or that has lost
// its API server, asks again after at most 30 s.
const settleLimit = 90 * time.Second

func runSteps(ctx context.Context, o options) (failed error) {
	began := time.Now()
	w, err := startWorld(ctx, o)
	defer func() {
		began := time.Now()
		err := w.end()
		reportStep("everything ends well, and no reducer was sent what it may not be", began, "", err)
		failed = errors.Join(failed, err)
	}()
	reportStep("the control plane and the set-ups start", began, strings.Join(w.names(), ", "), err)
	if err != nil {
		return err
	}
	for _, s := range steps {
		began := time.Now()
		facts := ""
		err := s.do(ctx, w)
		if err == nil {
			facts, err = w.agree(ctx)
		}
		reportStep(s.name, began, facts, err)
		if err != nil {
			return err
		}
	}
	return nil
}

func startWorld(ctx context.Context, o options) (*world, error) {
	w := &world{options: o, expected: newExpectedState()}
	dir := o.dir + "/steps"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return w, err
	}
	var err error
	if w.plane, err = startPlane(dir, o.binaries.plane); err != nil {
		return w, err
	}
	for _, s := range setups {
		r, err := o.start(ctx, dir, s, w.plane.Reader)
		w.over = append(w.over, r)
		if err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *world) end() error {
	var all []error
	for _, r := range w.over {
		all = append(all, r.end())
	}
	if w.plane != nil {
		all = append(all, w.plane.end())
	}
	return errors.Join(all...)
}

func (w *world) names() []string {
	var names []string
	for _, r := range w.over {
		names = append(names, r.name)
	}
	return names
}

// named gives the set-up of this name, or nil.
func (w *world) named(name string) *running {
	i := slices.IndexFunc(w.over, func(r *running) bool { return r.name == name })
	if i < 0 {
		return nil
	}
	return w.over[i]
}

// logged counts for each set-up how often it has said one of these.
func (w *world) logged(words ...string) map[string]int {
	counts := map[string]int{}
	for _, r := range w.over {
		counts[r.name] = r.logged(words...)
	}
	return counts
}

// allLogged fails if one of the set-ups has not said so since.
func (w *world) allLogged(before map[string]int, words ...string) error {
	for _, r := range w.over {
		if r.logged(words...) == before[r.name] {
			return fmt.Errorf("%s: the log does not say %q", r.name, words)
		}
	}
	return nil
}

// agree waits until everybody knows the same, while the cluster stands still; or says who does not.
func (w *world) agree(ctx context.Context) (string, error) {
	var now snapshot
	var wrong []*running
	err := until(ctx, settleLimit, func() error {
		var err error
		if now, err = w.expected.read(ctx, w.plane.client); err != nil {
			return err
		}
		wrong = nil
		var all []error
		for _, r := range w.over {
			if err := r.check(ctx, w.expected, now); err != nil {
				wrong = append(wrong, r)
				all = append(all, err)
			}
		}
		then, err := w.expected.read(ctx, w.plane.client)
		if err == nil && digest.Of(then.all) != digest.Of(now.all) {
			err = errors.New("the cluster does not stand still")
		}
		return errors.Join(append(all, err)...)
	})
	if err == nil {
		return digest.Of(now.main).String(), nil
	}
	for _, r := range wrong {
		err = fmt.Errorf("%w\n%s", err, r.differences(w.expected, now))
	}
	return "", err
}
