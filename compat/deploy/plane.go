package deploy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// startLimit is how long a control plane may take to be ready.
const startLimit = 3 * time.Minute

// plane is a running compat/controlplane and clients of it.
type plane struct {
	config *rest.Config
	client kubernetes.Interface
	any    dynamic.Interface
	mapper meta.RESTMapper
	cmd    *exec.Cmd
	said   bytes.Buffer
}

// startPlane starts the binary and waits until its API server answers.
func startPlane(binary, dir string) (*plane, error) {
	p := &plane{cmd: exec.Command(binary, "up", "--dir", dir)}
	p.cmd.Stderr = &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(startLimit, func() { _ = p.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	late.Stop()
	if err != nil {
		p.end()
		return nil, fmt.Errorf("the control plane did not start: %w\n%s", err, p.said.String())
	}
	var ready struct {
		Kubeconfig string `json:"kubeconfig"`
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		p.end()
		return nil, err
	}
	if p.config, err = clientcmd.BuildConfigFromFlags("", ready.Kubeconfig); err == nil {
		p.config.QPS = -1
		p.client, err = kubernetes.NewForConfig(p.config)
	}
	if err == nil {
		p.any, err = dynamic.NewForConfig(p.config)
	}
	if err != nil {
		p.end()
		return nil, err
	}
	p.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(p.client.Discovery()))
	return p, nil
}

func (p *plane) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// strict refuses what the API server would otherwise drop in silence.
var strict = metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}

// create makes an object, in the namespace that it names.
func (p *plane) create(ctx context.Context, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := p.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	var resource dynamic.ResourceInterface = p.any.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		resource = p.any.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	_, err = resource.Create(ctx, object, strict)
	if apierrors.IsAlreadyExists(err) && kind.Kind == "Namespace" {
		return nil
	}
	return err
}

// delete removes it again.
func (p *plane) delete(ctx context.Context, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := p.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil || kind.Kind == "Namespace" {
		return err
	}
	var resource dynamic.ResourceInterface = p.any.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		resource = p.any.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	return resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{})
}
