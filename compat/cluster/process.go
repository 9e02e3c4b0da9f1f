package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is one program that the suite has started; its log is a file.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// quietly is how long a program may take to end after SIGTERM.
const quietly = time.Minute

// start runs a program whose standard error goes to NAME.log in dir; cmd.Stdout may be set before.
func start(dir, name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), cmd: cmd, done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.Env = environment()
	// A group of its own: ^C at a terminal reaches only the suite, which ends the rest in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// environment is ours without what would change the relay's settings.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "K8S_RELAY_") && !strings.HasPrefix(entry, "EBPF_NET_") && !strings.HasPrefix(entry, "KUBECONFIG=") {
			kept = append(kept, entry)
		}
	}
	return kept
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// alive fails if the program has ended.
func (p *process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %v\n%s", p.name, p.err, p.tail(15))
	default:
		return nil
	}
}

// end asks it to end, and fails if it does not, or not well.
func (p *process) end() error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(quietly):
		p.signal(syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("%s did not end within %s", p.name, quietly)
	}
	if p.err != nil {
		return fmt.Errorf("%s ended with %w\n%s", p.name, p.err, p.tail(15))
	}
	return nil
}

func (p *process) logged() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

func (p *process) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(p.logged()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// until asks again and again until there is no error, at most for so long; then it fails with the
// last one. Between two questions it leaves those who are asked some time for their work.
func until(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		began := time.Now()
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-time.After(max(100*time.Millisecond, 3*time.Since(began))):
		}
	}
}
