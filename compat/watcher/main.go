// Command watcher does what the watcher of the legacy deployment does: it lists and watches
// ReplicaSets, Jobs and pods, and streams what it sees to a relay. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"k8s-relay/compat/watcher/collector"
)

//go:generate go run ./generate ../../proto

type settings struct {
	server     string
	kubeconfig string
	localTest  bool
	rotate     time.Duration
	pause      time.Duration
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "load" {
		err = load(ctx, os.Args[2:])
	} else {
		err = run(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "watcher:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var s settings
	flags := flag.NewFlagSet("watcher", flag.ExitOnError)
	console := flags.Bool("log-console", true, "log to standard error")
	level := flags.String("log-level", "warning", "error, warning, info, debug or trace")
	flags.StringVar(&s.server, "server-address", "localhost:8712", "where the relay listens")
	flags.BoolVar(&s.localTest, "local-test", false, "make up what is sent; there is no cluster")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "how to reach the API server; default: from within a pod")
	flags.DurationVar(&s.rotate, "rotate", 5*time.Minute, "how long a watch is used before another takes its place")
	flags.DurationVar(&s.pause, "pause", 200*time.Millisecond, "how long to wait before starting over")
	_ = flags.Parse(args)
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if s.rotate <= 0 || s.pause < 0 {
		return errors.New("-rotate must be positive, -pause not negative")
	}
	if err := startLog(*console, *level); err != nil {
		return err
	}
	source := localTest
	if !s.localTest {
		client, err := connect(s.kubeconfig)
		if err != nil {
			return err
		}
		source = func(ctx context.Context, send sender) error { return listAndWatch(ctx, client, s.rotate, send) }
	}
	for {
		err := round(ctx, s.server, source)
		if ctx.Err() != nil {
			return nil
		}
		slog.Warn("starting over", "why", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.pause):
		}
	}
}

// sender sends the relay one thing.
type sender func(*collector.Info) error

// round is one stream, from its opening until anything at all goes wrong.
func round(ctx context.Context, server string, source func(context.Context, sender) error) error {
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stream, err := collector.NewCollectorClient(conn).Collect(ctx)
	if err != nil {
		return err
	}
	slog.Info("stream opened", "server", server)
	go func() { stop(untilAnswer(stream)) }()
	err = source(ctx, func(info *collector.Info) error {
		slog.Debug("send", "info", info)
		return stream.Send(info)
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// untilAnswer waits for the only thing that the relay ever says: that the stream is over.
func untilAnswer(stream collector.Collector_CollectClient) error {
	_, err := stream.Recv()
	switch {
	case err == nil:
		return errors.New("the relay wants everything again")
	case errors.Is(err, io.EOF):
		return errors.New("the relay has ended the stream")
	}
	return err
}

func connect(kubeconfig string) (kubernetes.Interface, error) {
	config, err := rest.InClusterConfig()
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

func startLog(console bool, level string) error {
	levels := map[string]slog.Level{
		"error": slog.LevelError, "warning": slog.LevelWarn, "warn": slog.LevelWarn,
		"info": slog.LevelInfo, "debug": slog.LevelDebug, "trace": slog.LevelDebug,
	}
	least, known := levels[level]
	if !known {
		return fmt.Errorf("-log-level %q: error, warning, info, debug or trace", level)
	}
	out := io.Discard
	if console {
		out = os.Stderr
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: least})))
	return nil
}
