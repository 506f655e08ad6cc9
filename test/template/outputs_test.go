package template_test

import (
	"encoding/json"
	"testing"

	"github.com/flavorless/flavorless/internal/aws/stack"
)

// TestOutputs holds the template to what the command line asks of a deployed stack.
func TestOutputs(t *testing.T) {
	needTools(t)
	src, err := compiled()
	if err != nil {
		t.Fatalf("serverless.yml does not package: %v", err)
	}
	var parsed struct {
		Outputs map[string]struct{ Value any }
	}
	if err := json.Unmarshal(src, &parsed); err != nil {
		t.Fatal(err)
	}
	for _, name := range stack.Outputs() {
		if parsed.Outputs[name].Value == nil {
			t.Errorf("there is no output %s", name)
		}
	}
}
