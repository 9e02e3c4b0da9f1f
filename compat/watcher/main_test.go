package main

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"

	"k8s-relay/compat/watcher/collector"
)

// relay ends the first stream by a Response and the second by an error, and lets the third be.
type relay struct {
	collector.UnimplementedCollectorServer
	first chan *collector.Info
	count int
}

func (r *relay) Collect(stream collector.Collector_CollectServer) error {
	info, err := stream.Recv()
	if err != nil {
		return err
	}
	r.count++
	r.first <- info
	switch r.count {
	case 1:
		if err := stream.Send(&collector.Response{}); err != nil {
			return err
		}
	case 2:
		return errors.New("out of order")
	}
	<-stream.Context().Done()
	return nil
}

func TestAResponseAndAnErrorMakeItStartOver(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, r := grpc.NewServer(), &relay{first: make(chan *collector.Info)}
	collector.RegisterCollectorServer(server, r)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- run(ctx, []string{"-local-test", "-pause=1ms", "--server-address", listener.Addr().String()})
	}()
	for range 3 {
		if info := <-r.first; info.Type != collector.Info_K8S_REPLICASET || info.Event != collector.Info_ADDED {
			t.Errorf("a stream begins with %v", info)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
