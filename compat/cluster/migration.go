package main

import (
	"context"
	"fmt"
	"time"
)

// gateLimit is how long the gate may take to open.
const gateLimit = time.Minute

// cutsOver goes over to our own watches as soon as the gate lets it.
func (s *script) cutsOver(r *running) {
	s.do(func() error {
		return until(s.ctx, gateLimit, func() error { return r.migrate(s.ctx, s.binaries, "cutover") })
	})
	s.stands(r, "shadow-native")
}

// rollsBack makes the watcher's stream the active feed again.
func (s *script) rollsBack(r *running) {
	s.do(func() error { return r.migrate(s.ctx, s.binaries, "rollback") })
	s.stands(r, "shadow")
}

func (s *script) stands(r *running, stage string) {
	s.do(func() error {
		status, err := r.status(s.ctx)
		if err == nil && status.Stage != stage {
			err = fmt.Errorf("%s: the stage is %s, not %s", r.name, status.Stage, stage)
		}
		return err
	})
}

// quietMigration goes there and back while nothing moves: no pod is deleted for it.
func quietMigration(ctx context.Context, w *world) error {
	s, r := w.script(ctx), w.named("shadow")
	before := s.counted(r)
	s.cutsOver(r)
	s.agrees()
	s.rollsBack(r)
	// What is sent for it has come by now.
	s.agrees()
	after := s.counted(r)
	s.do(func() error {
		if after.Deletes != before.Deletes {
			return fmt.Errorf("%s: %d deletes for cutover and rollback", r.name, after.Deletes-before.Deletes)
		}
		return nil
	})
	s.withoutResync(r, before, after)
	return s.err
}

// busyMigration goes there, back, and there again while pods come and go.
func busyMigration(ctx context.Context, w *world) error {
	s, r := w.script(ctx), w.named("shadow")
	busy := w.keepBusy(ctx)
	busy.lap(s)
	before := s.counted(r)
	for _, switches := range []func(*running){s.cutsOver, s.rollsBack, s.cutsOver} {
		switches(r)
		busy.lap(s)
	}
	after := s.counted(r)
	s.withoutResync(r, before, after)
	if err := busy.end(); s.err == nil {
		s.err = err
	}
	return s.err
}

// counts is what a reducer was sent, and how often its watcher has started over.
type counts struct {
	sum
	streams int
}

func (s *script) counted(r *running) counts {
	var c counts
	s.do(func() (err error) {
		c.sum, err = r.reducer.sum()
		c.streams = r.logged("starting over")
		return err
	})
	return c
}

// withoutResync fails if the reducer was sent everything again, unless for a new stream: an API
// server ends the watch of a watcher that is too slow for it, and then the stream ends, too.
func (s *script) withoutResync(r *running, before, after counts) {
	s.do(func() error {
		if resyncs := after.Resyncs - before.Resyncs; resyncs > after.streams-before.streams {
			return fmt.Errorf("%s: %d resyncs for cutover and rollback", r.name, resyncs)
		}
		return nil
	})
}

// busyness is a Deployment that is rolled and scaled all the time.
type busyness struct {
	laps  chan struct{}
	quiet chan struct{}
	done  chan error
}

// keepBusy lets pods come and go until its end.
func (w *world) keepBusy(ctx context.Context) *busyness {
	const app, few, many = "busy", 5, 20
	b := &busyness{laps: make(chan struct{}), quiet: make(chan struct{}), done: make(chan error, 1)}
	go func() {
		s := w.script(ctx)
		s.deployment(app, few)
		for version := 1; s.err == nil; version++ {
			s.scale(app, many)
			s.runs(app, many, version)
			s.scale(app, few)
			select {
			case <-b.quiet:
				s.runs(app, few, version)
				b.done <- s.err
				return
			case b.laps <- struct{}{}:
			default:
			}
			s.rolls("Deployment", app, version+1)
		}
		b.done <- s.err
	}()
	return b
}

// lap waits until one more round of pods has come and gone.
func (b *busyness) lap(s *script) {
	s.do(func() error {
		select {
		case <-b.laps:
			return nil
		case err := <-b.done:
			b.done <- err
			return err
		}
	})
}

func (b *busyness) end() error {
	close(b.quiet)
	return <-b.done
}
