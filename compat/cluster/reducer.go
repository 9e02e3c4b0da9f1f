package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"k8s-relay/compat/cluster/digest"
)

// reducer is a `k8s-relay reducer --state`, which is asked by signals what it knows.
type reducer struct {
	*process
	address string
	out     *os.File
	lines   *bufio.Reader
}

// sum is what it says about its newest connection.
type sum struct {
	Connection  *int   `json:"connection"`
	End         string `json:"end"`
	Digest      string `json:"digest"`
	Pods        int    `json:"pods"`
	PodsTold    int    `json:"pods_told"`
	Deletes     int    `json:"deletes"`
	Resyncs     int    `json:"resyncs"`
	PlainBytes  int    `json:"plain_bytes"`
	ToldAgain   int    `json:"pods_told_again"`
	WithoutWord struct {
		Pods       int `json:"pods_beyond_pool"`
		Containers int `json:"containers_beyond_pool"`
		Strays     int `json:"containers_without_pod"`
		Deletes    int `json:"deletes_unknown"`
	} `json:"without_effect"`
}

// answered is how long it may take to answer.
const answered = time.Minute

func startReducer(ctx context.Context, dir, name, relay string) (*reducer, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(relay, "reducer", "--state", "--listen", "127.0.0.1:0")
	cmd.Stdout = in
	p, err := start(dir, name+"-reducer", cmd)
	in.Close()
	if err != nil {
		return nil, err
	}
	r := &reducer{process: p, out: out, lines: bufio.NewReaderSize(out, 1<<20)}
	return r, until(ctx, 30*time.Second, func() error {
		if err := r.alive(); err != nil {
			return err
		}
		_, address, found := strings.Cut(r.logged(), "listening on ")
		if !found || !strings.HasSuffix(address, "\n") {
			return errors.New("it does not listen yet")
		}
		r.address = strings.TrimSpace(address)
		return nil
	})
}

// sum asks for the line of the newest connection.
func (r *reducer) sum() (sum, error) {
	_, s, err := r.ask(syscall.SIGUSR1)
	return s, err
}

// pods asks for all that it knows.
func (r *reducer) pods() (map[string]digest.Pod, sum, error) { return r.ask(syscall.SIGUSR2) }

func (r *reducer) ask(s syscall.Signal) (map[string]digest.Pod, sum, error) {
	if err := r.alive(); err != nil {
		return nil, sum{}, err
	}
	r.signal(s)
	late := time.AfterFunc(answered, func() { r.signal(syscall.SIGKILL) })
	defer late.Stop()
	pods := map[string]digest.Pod{}
	for {
		line, err := r.lines.ReadBytes('\n')
		if err != nil {
			return nil, sum{}, fmt.Errorf("%s does not answer: %w", r.name, err)
		}
		var about struct {
			UID *string `json:"pod"`
		}
		if err := json.Unmarshal(line, &about); err != nil {
			return nil, sum{}, fmt.Errorf("%s says %s: %w", r.name, line, err)
		}
		if about.UID == nil {
			var last sum
			return pods, last, json.Unmarshal(line, &last)
		}
		var pod digest.Pod
		if err := json.Unmarshal(line, &pod); err != nil {
			return nil, sum{}, fmt.Errorf("%s says %s: %w", r.name, line, err)
		}
		pods[pod.UID] = pod
	}
}

// end fails also if a relay has sent it what it may not. Nobody reads what it shows at its end:
// it takes that for a closed pipe.
func (r *reducer) end() error {
	r.out.Close()
	return r.process.end()
}
