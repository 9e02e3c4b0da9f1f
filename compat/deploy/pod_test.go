package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A pod is played with the kernel's own means: one network for all of its containers, and for each
// a root in which nothing is but the image and what a kubelet mounts, read-only, with a process 1
// that has no capabilities. Not played: the seccomp filter RuntimeDefault, and cgroups.

// role names what this test binary is when it starts itself again.
const role = "DEPLOY_ROLE"

const (
	user = 65532
	// patience bounds each wait within the pod.
	patience = time.Minute
)

// container is one process of a pod.
type container struct {
	Name string
	// Args begins with the name of the program, as the image's entry point or `command` has it.
	Args []string
	Env  []string
	// Root is a folder with the image and with what is mounted read-only.
	Root string
}

// pod is what the sandbox is asked to run.
type pod struct {
	Containers []container
	// Cluster is a program that simulates an API server; the kubeconfig is written to each root.
	Cluster string
	Dir     string
}

// report is what the sandbox saw.
type report struct {
	Ready string
	// Ports that are listened at, other than the reducer's and the API server's.
	Ports []int
	// Connections to the reducer.
	Connections int
	// Status and Log of each container by its name.
	Status map[string]int
	Log    map[string]string
}

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(role) {
	case "sandbox":
		err = sandbox()
	case "container":
		err = contain()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// again is a command that starts this binary in another role, with its orders on standard input.
func again(as string, orders any, flags uintptr) (*exec.Cmd, error) {
	text, err := json.Marshal(orders)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{role + "=" + as}
	cmd.Stdin = bytes.NewReader(text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// === in the pod's network ===

func sandbox() error {
	var p pod
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	reducer, err := net.Listen("tcp", "127.0.0.1:7000")
	if err != nil {
		return err
	}
	var seen report
	var count sync.Mutex
	go func() {
		for {
			connection, err := reducer.Accept()
			if err != nil {
				return
			}
			count.Lock()
			seen.Connections++
			count.Unlock()
			go func() { _, _ = io.Copy(io.Discard, connection) }()
		}
	}()
	others := []int{7000}
	if p.Cluster != "" {
		end, port, err := p.cluster()
		if err != nil {
			return err
		}
		defer end()
		others = append(others, port)
	}
	running := map[string]*exec.Cmd{}
	logs := map[string]*bytes.Buffer{}
	for _, one := range p.Containers {
		cmd, err := again("container", one, syscall.CLONE_NEWPID|syscall.CLONE_NEWNS|syscall.CLONE_NEWIPC|syscall.CLONE_NEWUTS)
		if err != nil {
			return err
		}
		log := &bytes.Buffer{}
		cmd.Stderr, logs[one.Name] = log, log
		if err := cmd.Start(); err != nil {
			return err
		}
		running[one.Name] = cmd
	}
	seen.Ready = ready()
	if seen.Ports, err = listened(others); err != nil {
		return err
	}
	seen.Status, seen.Log = map[string]int{}, map[string]string{}
	for name, cmd := range running {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		seen.Status[name], seen.Log[name] = cmd.ProcessState.ExitCode(), logs[name].String()
	}
	count.Lock()
	defer count.Unlock()
	return json.NewEncoder(os.Stdout).Encode(seen)
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// cluster starts a simulated API server, and puts the way to it into each root.
func (p pod) cluster() (end func(), port int, err error) {
	file := filepath.Join(p.Dir, "kubeconfig")
	cmd := exec.Command(p.Cluster, "cluster", "--pods", "20", "--churn", "0", "--kubeconfig-out", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log := &bytes.Buffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	end = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(file)
		_, after, found := strings.Cut(string(text), "127.0.0.1:")
		if err != nil || !found {
			continue
		}
		digits := strings.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' })
		if port, err = strconv.Atoi(after[:digits]); err != nil {
			continue
		}
		for _, one := range p.Containers {
			if err := os.WriteFile(filepath.Join(one.Root, "etc", "kubeconfig"), text, 0o644); err != nil {
				return nil, 0, err
			}
		}
		return end, port, nil
	}
	end()
	return nil, 0, fmt.Errorf("the simulated API server did not start:\n%s", log)
}

// ready waits until the relay's own probe is content; gives its last answer.
func ready() string {
	last := "no answer"
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8713/readyz", nil)
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			last = strings.TrimSpace(string(text))
			if answer.StatusCode == http.StatusOK {
				cancel()
				return last
			}
		}
		cancel()
	}
	return last
}

// listened gives the ports of TCP that somebody in this network listens at, without these.
func listened(without []int) (ports []int, err error) {
	const listening = "0A"
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(string(text), "\n")[1:] {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != listening {
				continue
			}
			_, digits, _ := strings.Cut(fields[1], ":")
			port, err := strconv.ParseInt(digits, 16, 32)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(without, int(port)) && !slices.Contains(ports, int(port)) {
				ports = append(ports, int(port))
			}
		}
	}
	slices.Sort(ports)
	return ports, nil
}

// === in a container ===

// contain becomes the container's process 1.
func contain() error {
	var c container
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		return err
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"own mounts", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"the root", func() error { return unix.Mount(c.Root, c.Root, "", unix.MS_BIND, "") }},
		{"/proc", func() error { return unix.Mount("proc", filepath.Join(c.Root, "proc"), "proc", 0, "") }},
		{"a read-only root", func() error {
			return unix.Mount("", c.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
		}},
		{"chroot", func() error { return unix.Chroot(c.Root) }},
		{"the folder of the image", func() error { return unix.Chdir("/srv") }},
		{"no new privileges", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"no capabilities", dropAll},
		{"the group", func() error { return syscall.Setgroups(nil) }},
		{"the group", func() error { return syscall.Setresgid(user, user, user) }},
		{"the user", func() error { return syscall.Setresuid(user, user, user) }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return syscall.Exec("/srv/k8s-relay", c.Args, c.Env)
}

// dropAll takes the capabilities from what can ever be had; the change of user takes the rest.
func dropAll() error {
	for one := uintptr(0); one <= unix.CAP_LAST_CAP; one++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, one, 0, 0, 0); err != nil && err != unix.EINVAL {
			return err
		}
	}
	return nil
}

// === the tests ===

// static gives the static binary, which RELAY_STATIC names.
func static(t *testing.T) string {
	t.Helper()
	binary := os.Getenv("RELAY_STATIC")
	if binary == "" {
		t.Skip("RELAY_STATIC does not name a static binary of k8s-relay")
	}
	if os.Getuid() != 0 {
		t.Skip("an empty root: only root can make one")
	}
	return binary
}

// image gives a folder with the image's files and what a kubelet mounts.
func image(t *testing.T, binary string) string {
	t.Helper()
	root := t.TempDir()
	for _, folder := range []string{"srv", "etc/network-explorer", "proc"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"srv/k8s-relay": string(program),
		// As the kubelet writes it; the reducer's Service has a name.
		"etc/hosts":                        "127.0.0.1 localhost\n127.0.0.1 release-opentelemetry-ebpf-reducer\n",
		"etc/network-explorer/config.yaml": "labels:\n  environment: my-cluster\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("k8s-relay", filepath.Join(root, "srv", "k8s-watcher")); err != nil {
		t.Fatal(err)
	}
	// The folders above belong to the test's user alone.
	for folder := root; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// played runs a pod to its end.
func played(t *testing.T, p pod) report {
	t.Helper()
	p.Dir = t.TempDir()
	cmd, err := again("sandbox", p, syscall.CLONE_NEWNET|syscall.CLONE_NEWNS)
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("the sandbox: %v\n%s", err, log.String())
	}
	var seen report
	if err := json.Unmarshal(out.Bytes(), &seen); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return seen
}

// The chart's lines, as docs/protocol.md 15.7 has them.
var (
	watcherArgs = []string{"--log-console", "--log-level=warning"}
	relayArgs   = []string{"--config-file=/etc/network-explorer/config.yaml", "--log-console", "--warning"}
	relayEnv    = []string{
		"EBPF_NET_CLUSTER_NAME=my-cluster",
		"EBPF_NET_INTAKE_HOST=release-opentelemetry-ebpf-reducer",
		"EBPF_NET_INTAKE_PORT=7000",
	}
)

func TestInTheChartsPodTheImageServesTheWatcherOrStandsAlone(t *testing.T) {
	binary := static(t)
	entry := "/srv/k8s-relay"
	with := func(args ...[]string) []string { return slices.Concat(append([][]string{{entry}}, args...)...) }
	for name, set := range map[string]struct {
		containers []container
		native     bool
	}{
		"the relay's container alone": {
			containers: []container{{Name: "k8s-relay", Args: with(relayArgs), Env: relayEnv}},
		},
		"both containers": {
			containers: []container{
				{Name: "k8s-watcher", Args: with(watcherArgs)},
				{Name: "k8s-relay", Args: with(relayArgs, []string{"--source=native", "--kubeconfig=/etc/kubeconfig"}), Env: relayEnv},
			},
			native: true,
		},
		"both containers, by a variable, with another entry point for the watcher": {
			containers: []container{
				{Name: "k8s-watcher", Args: append([]string{"/srv/k8s-watcher"}, watcherArgs...)},
				{Name: "k8s-relay", Args: with(relayArgs), Env: append(slices.Clone(relayEnv), "K8S_RELAY_SOURCE=native", "K8S_RELAY_KUBECONFIG=/etc/kubeconfig")},
			},
			native: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := pod{}
			for _, one := range set.containers {
				one.Root = image(t, binary)
				p.Containers = append(p.Containers, one)
			}
			if set.native {
				p.Cluster = binary
			}
			seen := played(t, p)
			if seen.Ready != "ok" {
				t.Errorf("the probe says %q", seen.Ready)
			}
			if want := []int{8712, 8713}; !slices.Equal(seen.Ports, want) {
				t.Errorf("listened at is %v, not %v", seen.Ports, want)
			}
			if seen.Connections != 1 {
				t.Errorf("%d connections to the reducer", seen.Connections)
			}
			for name, status := range seen.Status {
				if status != 0 {
					t.Errorf("%s ended with %d", name, status)
				}
				log := strings.Split(strings.TrimSpace(seen.Log[name]), "\n")
				if name == "k8s-watcher" && (len(log) != 1 || !strings.Contains(log[0], "idle companion")) {
					t.Errorf("the companion logs %q", log)
				}
			}
			if t.Failed() {
				t.Log(seen.Log)
			}
		})
	}
}
