package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTargets finds targets in internal and in external tests, and nothing else. In ../.. there are those of the house.
func TestTargets(t *testing.T) {
	for patterns, want := range map[string][]string{
		"./testdata/quiet ./testdata/found": {"tools/fuzz/testdata/quiet.FuzzQuiet", "tools/fuzz/testdata/found.FuzzFound"},
		"../../events":                      {"events.FuzzDecodeBatch", "events.FuzzDecodeChange", "events.FuzzParseVersion", "events.FuzzCleanName"},
	} {
		found, err := targets(t.Context(), strings.Fields(patterns))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, f := range found {
			got[f.String()] = true
		}
		for _, w := range want {
			if !got[w] {
				t.Errorf("%s: no %s in %v", patterns, w, got)
			}
			delete(got, w)
		}
		if len(got) > 0 && strings.HasPrefix(patterns, "./testdata") {
			t.Errorf("%s: found %v, too", patterns, got)
		}
	}
}

// TestTimeUp tells the end of the time from a test that fails, whatever that says.
func TestTimeUp(t *testing.T) {
	for said, want := range map[string]bool{
		"fuzz: elapsed: 1s\n--- FAIL: FuzzX (1.07s)\n    context deadline exceeded\nFAIL\nexit status 1\n":                            true,
		"--- FAIL: FuzzX (1.07s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:7: context deadline exceeded\nFAIL\nexit status 1\n": false,
		"--- FAIL: FuzzX (1.07s)\n    fuzzing process hung or terminated unexpectedly: context deadline exceeded\nFAIL\n":             false,
	} {
		if got := timeUp.MatchString(said); got != want {
			t.Errorf("%q: %v", said, got)
		}
	}
}

// TestRun fuzzes what is clean, what fails at once and what fails with a seed.
func TestRun(t *testing.T) {
	input := filepath.Join("testdata", "found", "testdata")
	t.Cleanup(func() { _ = os.RemoveAll(input) })
	for folder, want := range map[string]string{
		"quiet": "",
		"found": filepath.Join("tools", "fuzz", "testdata", "found", "testdata", "fuzz", "FuzzFound"),
		"seed":  "FuzzSeed fails without a new input",
	} {
		t.Run(folder, func(t *testing.T) {
			var out bytes.Buffer
			c := config{time: "1000x", parallel: 1, only: regexp.MustCompile("")}
			err := c.run(t.Context(), []string{"./testdata/" + folder}, &out)
			switch {
			case want == "" && err != nil:
				t.Errorf("%v\n%s", err, &out)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("got error %v, want one that says %q\n%s", err, want, &out)
			}
			if first, _, _ := strings.Cut(out.String(), "\n"); !strings.HasPrefix(first, "1/1 tools/fuzz/testdata/"+folder+".Fuzz") {
				t.Errorf("it does not say what it runs: %s", first)
			}
		})
	}
	t.Run("the rest of them", func(t *testing.T) {
		c := config{time: "1000x", parallel: 1, only: regexp.MustCompile("")}
		err := c.run(t.Context(), []string{"./testdata/found", "./testdata/seed"}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), "FuzzFound") || !strings.Contains(err.Error(), "FuzzSeed") {
			t.Errorf("got %v, want both that fail", err)
		}
	})
	t.Run("none", func(t *testing.T) {
		c := config{only: regexp.MustCompile(`^events\.FuzzNobody$`)}
		if err := c.run(t.Context(), []string{"../../events"}, &bytes.Buffer{}); err == nil {
			t.Error("to run nothing is no success")
		}
	})
	if left, err := filepath.Glob(filepath.Join(input, "fuzz", "FuzzFound", "*")); err != nil || len(left) != 1 {
		t.Error(cmp.Diff([]string{"one input"}, left), err)
	}
}
