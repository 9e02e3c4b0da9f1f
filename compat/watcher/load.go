package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	"k8s-relay/compat/watcher/collector"
	"k8s-relay/compat/watcher/synthetic"
)

// load streams synthetic objects as fast as the relay takes them, says how fast that was, and
// holds the stream open until it is asked to end. It fails if the relay ends the stream.
func load(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("watcher load", flag.ExitOnError)
	server := flags.String("server-address", "localhost:8712", "where the relay listens")
	pods := flags.Int("pods", 100_000, "pods to send, and a fifth as many ReplicaSets before them")
	text := flags.String("size", string(synthetic.Tiny), "how large they are: tiny or large")
	_ = flags.Parse(args)
	size := synthetic.Size(*text)
	if !size.Valid() || *pods < 0 {
		return fmt.Errorf("-size tiny or large, -pods not negative")
	}
	err := round(ctx, *server, func(ctx context.Context, send sender) error {
		began, messages, bytes := time.Now(), 0, 0
		counted := func(info *collector.Info) error {
			messages++
			bytes += proto.Size(info)
			return send(info)
		}
		for i := range (*pods + synthetic.PodsPerSet - 1) / synthetic.PodsPerSet {
			if err := counted(infoOf(collector.Info_ADDED, synthetic.ReplicaSet(i, size))); err != nil {
				return err
			}
		}
		for i := range *pods {
			if err := counted(infoOf(collector.Info_ADDED, synthetic.Pod(i, size))); err != nil {
				return err
			}
		}
		seconds := time.Since(began).Seconds()
		if err := json.NewEncoder(os.Stdout).Encode(map[string]any{
			"messages": messages, "bytes": bytes, "seconds": seconds, "messages_per_second": int(float64(messages) / seconds),
		}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}
