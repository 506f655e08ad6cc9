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

// TestTargets checks that targets are found in internal and external tests, and that nothing else is.
func TestTargets(t *testing.T) {
	for patterns, want := range map[string][]string{
		"./testdata/quiet ./testdata/found": {"tools/fuzz/testdata/quiet.FuzzQuiet", "tools/fuzz/testdata/found.FuzzFound"},
		"../../events": {
			"events.FuzzDecodeBatch", "events.FuzzDecodeChange", "events.FuzzParseVersion", "events.FuzzCleanName",
		},
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
				t.Errorf("targets(%s) lacks %s", patterns, w)
			}
			delete(got, w)
		}
		if len(got) > 0 && strings.HasPrefix(patterns, "./testdata") {
			t.Errorf("targets(%s) also has %v", patterns, got)
		}
	}
}

// TestTimeUp checks that the end of the time is distinguished from a test that fails with the same text.
func TestTimeUp(t *testing.T) {
	const fail = "fuzz: elapsed: 1s\n--- FAIL: FuzzX (1.07s)\n"
	for said, want := range map[string]bool{
		fail + "    context deadline exceeded\nFAIL\nexit status 1\n":                                               true,
		fail + "    --- FAIL: FuzzX (0.00s)\n        x_test.go:7: context deadline exceeded\nFAIL\nexit status 1\n": false,
		fail + "    fuzzing process hung or terminated unexpectedly: context deadline exceeded\nFAIL\n":             false,
	} {
		if got := timeUp.MatchString(said); got != want {
			t.Errorf("timeUp matches %q: %t, want %t", said, got, want)
		}
	}
}

// TestRun fuzzes a target that does not fail, one that fails at once, and one that fails with a seed.
func TestRun(t *testing.T) {
	input := filepath.Join("testdata", "found", "testdata")
	t.Cleanup(func() { _ = os.RemoveAll(input) })
	for folder, want := range map[string]string{
		"quiet": "",
		"found": filepath.Join("tools", "fuzz", "testdata", "found", "testdata", "fuzz", "FuzzFound"),
		"seed":  "FuzzSeed fails with its seeds",
	} {
		t.Run(folder, func(t *testing.T) {
			var out bytes.Buffer
			c := config{time: "1000x", parallel: 1, only: regexp.MustCompile("")}
			err := c.run(t.Context(), []string{"./testdata/" + folder}, &out)
			switch {
			case want == "" && err != nil:
				t.Errorf("run = %v, want no error\n%s", err, &out)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("run = %v, want an error with %q\n%s", err, want, &out)
			}
			announced := "1/1 tools/fuzz/testdata/" + folder + ".Fuzz"
			if first, _, _ := strings.Cut(out.String(), "\n"); !strings.HasPrefix(first, announced) {
				t.Errorf("the first line is %q, want one that begins with %q", first, announced)
			}
		})
	}
	t.Run("several failures", func(t *testing.T) {
		c := config{time: "1000x", parallel: 1, only: regexp.MustCompile("")}
		err := c.run(t.Context(), []string{"./testdata/found", "./testdata/seed"}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), "FuzzFound") || !strings.Contains(err.Error(), "FuzzSeed") {
			t.Errorf("run = %v, want the failures of FuzzFound and FuzzSeed", err)
		}
	})
	t.Run("none", func(t *testing.T) {
		c := config{only: regexp.MustCompile(`^events\.FuzzNobody$`)}
		if err := c.run(t.Context(), []string{"../../events"}, &bytes.Buffer{}); err == nil {
			t.Error("run without a matching target = nil, want an error")
		}
	})
	if left, err := filepath.Glob(filepath.Join(input, "fuzz", "FuzzFound", "*")); err != nil || len(left) != 1 {
		t.Error(cmp.Diff([]string{"one input"}, left), err)
	}
}
