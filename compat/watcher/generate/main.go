// Command generate makes the Go stubs of the Collect service: it compiles proto/ in pure Go, and
// runs the plugins in the versions that go.mod pins. No protoc is needed.
//
//	go run ./generate PROTO-DIRECTORY
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// Imported ones first.
var files = []string{"kubernetes_info.proto", "collector.proto"}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: generate PROTO-DIRECTORY"))
	}
	stubs, err := generate(os.Args[1])
	if err != nil {
		fail(err)
	}
	for name, content := range stubs {
		if err := os.WriteFile(filepath.Join("collector", name), []byte(content), 0o644); err != nil {
			fail(err)
		}
	}
}

// generate gives the content of each stub by its name.
func generate(directory string) (map[string]string, error) {
	request, err := compile(directory)
	if err != nil {
		return nil, err
	}
	stubs := map[string]string{}
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := run(plugin, request, stubs); err != nil {
			return nil, fmt.Errorf("%s: %w", plugin, err)
		}
	}
	return stubs, nil
}

func compile(directory string) ([]byte, error) {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{directory}},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(context.Background(), files...)
	if err != nil {
		return nil, err
	}
	parameter := "paths=source_relative"
	for _, file := range files {
		parameter += fmt.Sprintf(",M%s=k8s-relay/compat/watcher/collector", file)
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: files, Parameter: &parameter}
	for _, file := range compiled {
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(file))
	}
	return proto.Marshal(request)
}

func run(plugin string, request []byte, stubs map[string]string) error {
	command := exec.Command("go", "tool", plugin)
	command.Stdin, command.Stderr = bytes.NewReader(request), os.Stderr
	output, err := command.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, file := range response.File {
		stubs[file.GetName()] = file.GetContent()
	}
	return nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "generate:", err)
	os.Exit(1)
}
