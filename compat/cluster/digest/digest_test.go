package digest

import (
	"encoding/json"
	"os"
	"testing"
)

func TestTheDigestIsTheSameInBothLanguages(t *testing.T) {
	text, err := os.ReadFile("../../digest.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name   string
		Pods   []Pod
		Digest string
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("there are no vectors")
	}
	for _, vector := range vectors {
		var d Digest
		for _, pod := range vector.Pods {
			d.Add(pod)
		}
		if d.String() != vector.Digest {
			t.Errorf("%s: %s, not %s", vector.Name, d, vector.Digest)
		}
	}
}
