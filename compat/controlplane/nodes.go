package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/component-base/version"
)

// Annotations by which one pod departs from the flags.
const (
	runForAnnotation   = "controlplane/run-for"   // duration: the containers end after it, whatever owns the pod
	exitCodeAnnotation = "controlplane/exit-code" // with what they end; not 0 makes the pod Failed
	stayAnnotation     = "controlplane/stay"      // "pending": bound but never started

	restartAfterAnnotation = "controlplane/restart-after" // duration: each container starts again after it, once
	restartsAnnotation     = "controlplane/restarts"      // or so many times; may be raised while the pod runs
)

// cluster plays the scheduler and the kubelet of every fake node.
type cluster struct {
	client  kubernetes.Interface
	pods    listers.PodLister
	queue   workqueue.TypedDelayingInterface[types.NamespacedName]
	nodes   []string
	nodeIP  map[string]string
	next    atomic.Uint64
	ips     *addresses
	ended   sync.Map // uid of a pod we have deleted for good
	jobTime time.Duration
	stop    time.Duration
	staged  bool
	dual    bool
}

func protobufConfig(kubeconfig string) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	cfg.QPS = -1
	return cfg, nil
}

// runNodes is the `nodes` child.
func runNodes(args []string) error {
	fs := flag.NewFlagSet("nodes", flag.ExitOnError)
	kubeconfig := fs.String("kubeconfig", "", "kubeconfig of an administrator")
	count := fs.Int("nodes", 3, "nodes to register")
	workers := fs.Int("workers", 32, "pods handled at once")
	cidr := fs.String("pod-cidr", "10.0.0.0/8", "where pod addresses come from; a small range makes them be given out again soon")
	c := &cluster{nodeIP: map[string]string{}}
	fs.DurationVar(&c.jobTime, "job-duration", 3*time.Second, "how long the containers of a Job's pod run")
	fs.DurationVar(&c.stop, "stop-delay", 0, "how long a deleted pod takes to stop")
	fs.BoolVar(&c.staged, "staged", false, "as a real kubelet: the address before the containers, ended containers before the deletion")
	fs.BoolVar(&c.dual, "dual-stack", false, "give every pod an IPv6 address too")
	_ = fs.Parse(args)

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	prefix, err := netip.ParsePrefix(*cidr)
	if err != nil {
		return err
	}
	c.ips = newAddresses(prefix)
	cfg, err := protobufConfig(*kubeconfig)
	if err != nil {
		return err
	}
	if c.client, err = kubernetes.NewForConfig(cfg); err != nil {
		return err
	}
	if err := c.register(ctx, *count); err != nil {
		return err
	}
	c.queue = workqueue.NewTypedDelayingQueue[types.NamespacedName]()
	factory := informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithTransform(dropManagedFields))
	pods := factory.Core().V1().Pods()
	c.pods = pods.Lister()
	if _, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { c.seen(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { c.seen(o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if pod, ok := o.(*corev1.Pod); ok {
				c.ips.release(pod.UID)
				c.ended.Delete(pod.UID)
			}
		},
	}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for range *workers {
		go c.work(ctx)
	}
	<-ctx.Done()
	c.queue.ShutDown()
	return nil
}

// dropManagedFields keeps the informer small: nothing here reads them, and a status update keeps the server's.
func dropManagedFields(o any) (any, error) {
	if pod, ok := o.(*corev1.Pod); ok {
		pod.ManagedFields = nil
	}
	return o, nil
}

func (c *cluster) register(ctx context.Context, count int) error {
	for i := range count {
		name, ip := fmt.Sprintf("node-%d", i), fmt.Sprintf("172.16.%d.%d", i/250, i%250+1)
		c.nodes = append(c.nodes, name)
		c.nodeIP[name] = ip
		room := corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("100000"),
		}
		node, err := c.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
				corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
				corev1.LabelTopologyZone: fmt.Sprintf("zone-%c", 'a'+i%3), corev1.LabelTopologyRegion: "region-1",
			}},
			Spec: corev1.NodeSpec{ProviderID: fmt.Sprintf("fake:///%s", name)},
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		if err != nil {
			return err
		}
		now := metav1.Now()
		node.Status = corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}, {Type: corev1.NodeHostName, Address: name}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
			NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: version.Get().GitVersion, ContainerRuntimeVersion: "containerd://2.1.0", OperatingSystem: "linux", Architecture: "amd64", KernelVersion: "6.12.0", OSImage: "fake"},
		}
		if _, err := c.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) seen(pod *corev1.Pod) {
	if pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !finished(pod) {
		c.ips.hold(pod.UID, pod.Status.PodIP)
	}
	c.queue.Add(types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name})
}

func (c *cluster) work(ctx context.Context) {
	for {
		key, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		if pod, err := c.pods.Pods(key.Namespace).Get(key.Name); err == nil {
			again, err := c.step(ctx, pod)
			switch {
			case err == nil && again > 0:
				c.queue.AddAfter(key, again)
			case err != nil && !apierrors.IsNotFound(err):
				wait := 50 * time.Millisecond
				if !apierrors.IsConflict(err) {
					fmt.Fprintf(os.Stderr, "%s %s: %v\n", time.Now().Format(time.RFC3339), key, err)
					wait = time.Second
				}
				c.queue.AddAfter(key, wait)
			}
		}
		c.queue.Done(key)
	}
}

// step takes pod one step further in its life, or says when to look again.
func (c *cluster) step(ctx context.Context, pod *corev1.Pod) (time.Duration, error) {
	api := c.client.CoreV1().Pods(pod.Namespace)
	_, ours := c.nodeIP[pod.Spec.NodeName]
	switch {
	case pod.Spec.NodeName == "":
		if pod.DeletionTimestamp != nil || len(pod.Spec.SchedulingGates) > 0 || len(c.nodes) == 0 {
			return 0, nil
		}
		return 0, api.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: c.place(pod)},
		}, metav1.CreateOptions{})

	case !ours:
		return 0, nil

	case pod.DeletionTimestamp != nil:
		if _, done := c.ended.Load(pod.UID); done {
			return 0, nil // only finalizers keep it
		}
		if wait := time.Until(pod.DeletionTimestamp.Add(c.stop - grace(pod))); c.stop > 0 && wait > 0 {
			return wait, nil
		}
		if c.staged && !finished(pod) {
			return 0, c.update(ctx, pod, c.endedStatus(pod, 0))
		}
		now := int64(0)
		err := api.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
		if err == nil {
			c.ended.Store(pod.UID, true)
		}
		return 0, err

	case finished(pod) || pod.Annotations[stayAnnotation] == "pending":
		return 0, nil

	case pod.Status.Phase != corev1.PodRunning:
		return 0, c.update(ctx, pod, c.runningStatus(pod))

	default:
		restart, updated, err := c.perhapsRestart(ctx, pod)
		if updated || err != nil {
			return 0, err
		}
		end, err := c.perhapsEnd(ctx, pod)
		if end == 0 || restart > 0 && restart < end {
			end = restart
		}
		return end, err
	}
}

// place keeps to the one node a DaemonSet's pod asks for; all others go round robin.
func (c *cluster) place(pod *corev1.Pod) string {
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			for _, f := range term.MatchFields {
				if f.Key == metav1.ObjectNameField && len(f.Values) == 1 {
					return f.Values[0]
				}
			}
		}
	}
	if name := pod.Spec.NodeSelector[corev1.LabelHostname]; name != "" {
		return name
	}
	return c.nodes[c.next.Add(1)%uint64(len(c.nodes))]
}

func (c *cluster) perhapsEnd(ctx context.Context, pod *corev1.Pod) (time.Duration, error) {
	after := time.Duration(-1)
	if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "Job" {
		after = c.jobTime
	}
	if s := pod.Annotations[runForAnnotation]; s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, nil
		}
		after = d
	}
	if after < 0 || pod.Status.StartTime == nil {
		return 0, nil
	}
	if wait := time.Until(pod.Status.StartTime.Add(after)); wait > 0 {
		return wait, nil
	}
	code, _ := strconv.Atoi(pod.Annotations[exitCodeAnnotation])
	err := c.update(ctx, pod, c.endedStatus(pod, int32(code)))
	if err == nil {
		c.ips.release(pod.UID) // as a CNI does: the address is free while the finished pod still shows it
	}
	return 0, err
}

// perhapsRestart restarts those containers that are due, or says when the next one will be.
func (c *cluster) perhapsRestart(ctx context.Context, pod *corev1.Pod) (wait time.Duration, updated bool, err error) {
	text, wanted := pod.Annotations[restartAfterAnnotation], int64(1)
	after, err := time.ParseDuration(text)
	if err != nil {
		return 0, false, nil
	}
	if text := pod.Annotations[restartsAnnotation]; text != "" {
		if wanted, err = strconv.ParseInt(text, 10, 32); err != nil {
			return 0, false, nil
		}
	}
	s := pod.Status.DeepCopy()
	for i := range s.ContainerStatuses {
		st := &s.ContainerStatuses[i]
		if st.State.Running == nil || int64(st.RestartCount) >= wanted {
			continue
		}
		if left := time.Until(st.State.Running.StartedAt.Add(after)); left > 0 {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		startAnew(st, metav1.Now())
		updated = true
	}
	if !updated {
		return wait, false, nil
	}
	return 0, true, c.update(ctx, pod, *s)
}

// startAnew is what a kubelet says of a container that has failed and runs again, under another id.
func startAnew(st *corev1.ContainerStatus, now metav1.Time) {
	last := terminated(1, now)
	last.Terminated.StartedAt, last.Terminated.ContainerID = st.State.Running.StartedAt, st.ContainerID
	st.LastTerminationState = last
	st.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
	st.ContainerID = newContainerID()
	st.RestartCount++
}

func (c *cluster) update(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	next := pod.DeepCopy()
	next.Status = status
	_, err := c.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	return err
}

func (c *cluster) runningStatus(pod *corev1.Pod) corev1.PodStatus {
	now := metav1.Now()
	s := *pod.Status.DeepCopy()
	if s.StartTime == nil {
		s.StartTime = &now
	}
	s.HostIP = c.nodeIP[pod.Spec.NodeName]
	s.HostIPs = []corev1.HostIP{{IP: s.HostIP}}
	s.PodIP = s.HostIP
	if !pod.Spec.HostNetwork {
		s.PodIP = c.ips.take(pod.UID)
	}
	s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	if v4, err := netip.ParseAddr(s.PodIP); c.dual && err == nil && v4.Is4() {
		b := v4.As4()
		s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: fmt.Sprintf("fd00::%x:%x", uint(b[0])<<8|uint(b[1]), uint(b[2])<<8|uint(b[3]))})
	}
	running := !c.staged || pod.Status.PodIP != ""
	yes := corev1.ConditionFalse
	s.Phase = corev1.PodPending
	if running {
		s.Phase, yes = corev1.PodRunning, corev1.ConditionTrue
	}
	s.Conditions = conditions(s.Conditions, now, map[corev1.PodConditionType]corev1.ConditionStatus{
		corev1.PodReadyToStartContainers: corev1.ConditionTrue, corev1.PodInitialized: yes, corev1.ContainersReady: yes, corev1.PodReady: yes, corev1.PodScheduled: corev1.ConditionTrue,
	})
	s.ContainerStatuses, s.InitContainerStatuses = nil, nil
	state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	if running {
		state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
	}
	for _, ct := range pod.Spec.InitContainers {
		st := state
		if sidecar := ct.RestartPolicy != nil && *ct.RestartPolicy == corev1.ContainerRestartPolicyAlways; running && !sidecar {
			st = terminated(0, now)
		}
		s.InitContainerStatuses = append(s.InitContainerStatuses, containerStatus(ct, st))
	}
	for _, ct := range pod.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, containerStatus(ct, state))
	}
	return s
}

func (c *cluster) endedStatus(pod *corev1.Pod, code int32) corev1.PodStatus {
	now := metav1.Now()
	s := *pod.Status.DeepCopy()
	s.Phase = corev1.PodSucceeded
	if code != 0 {
		s.Phase = corev1.PodFailed
	}
	s.Conditions = conditions(s.Conditions, now, map[corev1.PodConditionType]corev1.ConditionStatus{
		corev1.ContainersReady: corev1.ConditionFalse, corev1.PodReady: corev1.ConditionFalse,
	})
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range list {
			if st := &list[i]; st.State.Terminated == nil {
				id := st.ContainerID
				st.State = terminated(code, now)
				st.State.Terminated.ContainerID = id
				st.Ready, st.Started = false, new(bool)
			}
		}
	}
	return s
}

func containerStatus(ct corev1.Container, state corev1.ContainerState) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: ct.Name, Image: ct.Image, State: state}
	if state.Waiting != nil {
		return s
	}
	running := state.Running != nil
	s.Ready, s.Started = running || state.Terminated != nil && state.Terminated.ExitCode == 0, &running
	s.ContainerID, s.ImageID = newContainerID(), "sha256:"+randomHex()
	if t := s.State.Terminated; t != nil {
		t.ContainerID = s.ContainerID
	}
	return s
}

func terminated(code int32, now metav1.Time) corev1.ContainerState {
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: now, FinishedAt: now}}
}

func conditions(have []corev1.PodCondition, now metav1.Time, want map[corev1.PodConditionType]corev1.ConditionStatus) []corev1.PodCondition {
	var out []corev1.PodCondition
	for _, c := range have {
		if status, ok := want[c.Type]; ok {
			if c.Status != status {
				c.Status, c.LastTransitionTime = status, now
			}
			delete(want, c.Type)
		}
		out = append(out, c)
	}
	for kind, status := range want {
		out = append(out, corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: now})
	}
	return out
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func grace(pod *corev1.Pod) time.Duration {
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		return time.Duration(*g) * time.Second
	}
	return 0
}

func newContainerID() string { return "containerd://" + randomHex() }

func randomHex() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// addresses gives each pod one address of a range and goes round it, as a CNI does.
type addresses struct {
	mu     sync.Mutex
	prefix netip.Prefix
	last   netip.Addr
	byPod  map[types.UID]netip.Addr
	inUse  map[netip.Addr]int
}

func newAddresses(prefix netip.Prefix) *addresses {
	prefix = prefix.Masked()
	return &addresses{prefix: prefix, last: prefix.Addr(), byPod: map[types.UID]netip.Addr{}, inUse: map[netip.Addr]int{}}
}

func (a *addresses) take(uid types.UID) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ip, ok := a.byPod[uid]; ok {
		return ip.String()
	}
	for range 1 << 24 {
		if a.last = a.last.Next(); !a.prefix.Contains(a.last) {
			a.last = a.prefix.Addr()
			continue
		}
		if last := a.last.AsSlice()[a.last.BitLen()/8-1]; last == 0 || last == 255 || a.inUse[a.last] > 0 {
			continue
		}
		break
	}
	a.byPod[uid] = a.last
	a.inUse[a.last]++
	return a.last.String()
}

func (a *addresses) hold(uid types.UID, ip string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.byPod[uid]; ok {
		return
	}
	if addr, err := netip.ParseAddr(ip); err == nil {
		a.byPod[uid] = addr
		a.inUse[addr]++
	}
}

func (a *addresses) release(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ip, ok := a.byPod[uid]; ok {
		delete(a.byPod, uid)
		if a.inUse[ip]--; a.inUse[ip] <= 0 {
			delete(a.inUse, ip)
		}
	}
}
