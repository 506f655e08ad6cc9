package template_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/aws/stack"
)

// TestOperations checks that docs/operations.md describes every alarm and parameter, and that its commands match the
// template.
func TestOperations(t *testing.T) {
	tpl := compiledTemplate(t)
	src, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	manual := string(src)
	matches := func(expression string) map[string]bool {
		found := map[string]bool{}
		for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(manual, -1) {
			found[m[1]] = true
		}
		return found
	}

	documented := matches("(?m)^\\| `([A-Za-z0-9]+Alarm)` \\|")
	for _, id := range tpl.of(anAlarm) {
		if !documented[id] {
			t.Errorf("docs/operations.md has no row for the alarm %s", id)
		}
		delete(documented, id)
	}
	for _, id := range slices.Sorted(maps.Keys(documented)) {
		t.Errorf("docs/operations.md has a row for %s, which is not an alarm", id)
	}

	for protocol := range matches(`--protocol ([a-z]+)`) {
		if !slices.Contains(allowedProtocols(tpl, "ChangesTopic"), protocol) {
			t.Errorf("docs/operations.md subscribes by %s, which the policy of ChangesTopic denies", protocol)
		}
	}

	has := outputs(t)
	named := matches(`\boutput ([A-Z][A-Za-z]+)`)
	if len(named) == 0 {
		t.Error("docs/operations.md names no output of the stack")
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if !has[name] {
			t.Errorf("docs/operations.md names the output %s, which the stack does not have", name)
		}
	}

	service, err := os.ReadFile(filepath.Join(root, "serverless.yml"))
	if err != nil {
		t.Fatal(err)
	}
	_, params, _ := strings.Cut(string(service), "\nparams:")
	params, _, _ = strings.Cut(params, "\nprovider:")
	for _, m := range regexp.MustCompile("(?m)^    ([a-z][A-Za-z]+): ").FindAllStringSubmatch(params, -1) {
		if !strings.Contains(manual, "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not describe the parameter %s", m[1])
		}
	}
}

// TestOutputs checks that the stack has the outputs that the command line uses.
func TestOutputs(t *testing.T) {
	needTools(t)
	has := outputs(t)
	for _, name := range stack.Outputs() {
		if !has[name] {
			t.Errorf("the stack has no output %s", name)
		}
	}
}

// outputs returns the names of the stack's outputs.
func outputs(t *testing.T) map[string]bool {
	t.Helper()
	src, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Outputs map[string]struct{ Value any }
	}
	if err := json.Unmarshal(src, &parsed); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for name, output := range parsed.Outputs {
		names[name] = output.Value != nil
	}
	return names
}
