package deploy

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kubeconfig gives a file with a token of what is deployed, and nothing else that opens doors.
func (p *plane) kubeconfig(t *testing.T, rendered objects) string {
	t.Helper()
	name := rendered.kind("ServiceAccount")[0].GetName()
	asked := &authenticationv1.TokenRequest{}
	token, err := p.client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name, asked, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	authority := p.config.CAData
	if len(authority) == 0 {
		if authority, err = os.ReadFile(p.config.CAFile); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(`current-context: pod
contexts: [{name: pod, context: {cluster: here, user: account}}]
clusters: [{name: here, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: account, user: {token: %s}}]
`, p.config.Host, base64.StdEncoding.EncodeToString(authority), token.Status.Token)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// sink takes connections as a reducer does, and drops what it reads.
func sink(t *testing.T) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, connection) }()
		}
	}()
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}

// readiness runs the relay until its probe is content, and gives its last answer and the log.
func readiness(t *testing.T, binary string, args []string) (answer, log string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "admin.sock")
	cmd := exec.Command(binary, append(args, "--server-address=127.0.0.1:0", "--admin-address=unix:"+socket)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = []string{}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		Dial: func(string, string) (net.Conn, error) { return net.Dial("unix", socket) },
	}}
	answer = "no answer"
	for end := time.Now().Add(patience); time.Now().Before(end) && answer != "ok"; time.Sleep(20 * time.Millisecond) {
		if got, err := client.Get("http://localhost/readyz"); err == nil {
			text, _ := io.ReadAll(got.Body)
			got.Body.Close()
			answer = strings.TrimSpace(string(text))
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the relay ended with %v", err)
	}
	return answer, said.String()
}

func TestTheDocumentedRightsAreEnoughForTheRelay(t *testing.T) {
	binary := os.Getenv("RELAY")
	if binary == "" {
		t.Skip("RELAY does not name a binary of k8s-relay")
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	p := onPlane(t)
	for name, set := range map[string]struct {
		rendered objects
		args     []string
	}{
		"the cluster":   {ours(t, map[string]any{"mode": "native"}), nil},
		"a namespace":   {namespaced(t), []string{"--namespace=" + namespace}},
		"two of others": {ours(t, map[string]any{"scope": map[string]any{"namespaces": []any{"shop", "billing"}}}), []string{"--namespace=shop,billing"}},
	} {
		t.Run(name, func(t *testing.T) {
			p.deployed(t, set.rendered)
			args := append(set.args, "--source=native", "--kubeconfig="+p.kubeconfig(t, set.rendered),
				"--intake-host=127.0.0.1", "--intake-port="+sink(t), "--cloud=none", "--warning")
			answer, log := readiness(t, binary, args)
			if answer != "ok" {
				t.Errorf("the probe says %q", answer)
			}
			if strings.Contains(log, "forbidden") || strings.Contains(log, "403") {
				t.Error("it asked for more than it may")
			}
			if t.Failed() {
				t.Log(log)
			}
		})
	}
}
