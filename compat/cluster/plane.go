package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// plane is a running compat/controlplane.
type plane struct {
	*process
	Control    string `json:"control"`
	Kubeconfig string `json:"kubeconfig"`
	Reader     string `json:"reader_kubeconfig"`
	Nodes      int    `json:"nodes"`

	client kubernetes.Interface
}

func startPlane(dir, binary string) (*plane, error) {
	cmd := exec.Command(binary, "up", "--dir", filepath.Join(dir, "plane"), "--nodes-arg=--staged", "--nodes-arg=--job-duration=1s")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &plane{}
	if p.process, err = start(dir, "plane", cmd); err != nil {
		return nil, err
	}
	late := time.AfterFunc(3*time.Minute, func() { _ = p.end() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	late.Stop()
	if err != nil {
		return nil, fmt.Errorf("the control plane did not start: %w\n%s", err, p.tail(20))
	}
	if err := json.Unmarshal(line, p); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.ContentType, config.QPS = "application/vnd.kubernetes.protobuf", -1
	p.client, err = kubernetes.NewForConfig(config)
	return p, err
}

// control asks the plane to do something to itself.
func (p *plane) control(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Control+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: %s %s", path, answer.Status, text)
	}
	return nil
}
