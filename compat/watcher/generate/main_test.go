package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheStubsAreThoseOfTheProtoFiles(t *testing.T) {
	stubs, err := generate("../../../proto")
	if err != nil {
		t.Fatal(err)
	}
	if len(stubs) != 3 {
		t.Errorf("%d stubs, not 3", len(stubs))
	}
	for name, content := range stubs {
		kept, err := os.ReadFile(filepath.Join("..", "collector", name))
		if err != nil {
			t.Error(err)
		} else if string(kept) != content {
			t.Errorf("%s is not what `go generate` makes", name)
		}
	}
}
