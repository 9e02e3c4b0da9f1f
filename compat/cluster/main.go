// Command cluster is the end-to-end suite: a real control plane, and relays in every set-up over
// it at the same time. After each step the API server, each relay and each reducer must agree on
// the digest of all pods. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	binaries
	dir   string
	short bool
	load  int
	only  string
}

func main() {
	var o options
	flag.StringVar(&o.relay, "relay", "", "the k8s-relay binary")
	flag.StringVar(&o.watcher, "watcher", "", "the binary of compat/watcher")
	flag.StringVar(&o.plane, "plane", "", "the binary of compat/controlplane")
	flag.StringVar(&o.dir, "dir", "", "an empty directory for logs")
	flag.BoolVar(&o.short, "short", false, "less churn and load")
	flag.IntVar(&o.load, "load-pods", 100_000, "pods with which the watcher drives the relay at full speed")
	flag.StringVar(&o.only, "only", "", "`steps` or `load`: that part alone")
	flag.Parse()
	if o.relay == "" || o.watcher == "" || o.plane == "" || o.dir == "" {
		fmt.Fprintln(os.Stderr, "cluster: -relay, -watcher, -plane and -dir are needed; run.sh gives them")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Printf("FAILED: see the logs in %s\n", o.dir)
		os.Exit(1)
	}
	fmt.Println("all as it should be")
}

func run(ctx context.Context, o options) error {
	var err error
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	var failed error
	if o.only != "load" {
		failed = errors.Join(failed, runSteps(ctx, o))
	}
	if o.only != "steps" {
		failed = errors.Join(failed, runLoad(ctx, o))
	}
	return failed
}

// reportStep writes one line about one step, and what is wrong below it.
func reportStep(name string, began time.Time, facts string, err error) {
	word := "ok"
	if err != nil {
		word = "FAIL"
	}
	fmt.Printf("%-5s %-58s %6.1f s  %s\n", word, name, time.Since(began).Seconds(), facts)
	if err != nil {
		fmt.Printf("      %s\n", strings.ReplaceAll(err.Error(), "\n", "\n      "))
	}
}
