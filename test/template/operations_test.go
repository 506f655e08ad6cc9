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
)

// TestOperations: whoever is called at night looks the alarm up by its name.
func TestOperations(t *testing.T) {
	tpl := compiledTemplate(t)
	src, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z0-9]+Alarm)` \\|").FindAllStringSubmatch(string(src), -1) {
		told[m[1]] = true
	}
	for _, id := range tpl.of(anAlarm) {
		if !told[id] {
			t.Errorf("%s: docs/operations.md has no row on it", id)
		}
		delete(told, id)
	}
	for _, id := range slices.Sorted(maps.Keys(told)) {
		t.Errorf("docs/operations.md has a row on %s, which is no alarm", id)
	}

	for _, m := range regexp.MustCompile(`--protocol ([a-z]+)`).FindAllStringSubmatch(string(src), -1) {
		if !slices.Contains(allowedProtocols(tpl, "ChangesTopic"), m[1]) {
			t.Errorf("docs/operations.md subscribes by %s, which the policy of ChangesTopic denies", m[1])
		}
	}

	outputs := map[string]bool{}
	for _, m := range regexp.MustCompile(`\boutput ([A-Z][A-Za-z]+)`).FindAllStringSubmatch(string(src), -1) {
		outputs[m[1]] = true
	}
	compiledSource, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	var has struct{ Outputs map[string]any }
	if err := json.Unmarshal(compiledSource, &has); err != nil {
		t.Fatal(err)
	}
	if len(outputs) == 0 {
		t.Error("docs/operations.md names no output of the stack")
	}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if has.Outputs[name] == nil {
			t.Errorf("docs/operations.md names the output %s, which the stack has not", name)
		}
	}

	service, err := os.ReadFile(filepath.Join(root, "serverless.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^    ([a-z][A-Za-z]+): ").FindAllStringSubmatch(section(string(service), "params:", "provider:"), -1) {
		if !strings.Contains(string(src), "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not tell of the param %s", m[1])
		}
	}
}

// section gives what stands between two lines that begin so.
func section(s, from, to string) string {
	_, s, _ = strings.Cut(s, "\n"+from)
	s, _, _ = strings.Cut(s, "\n"+to)
	return s
}
