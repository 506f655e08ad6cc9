package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/local/retention"
)

func TestSizesAndTimes(t *testing.T) {
	t.Parallel()
	var bytes int64
	var d time.Duration
	s, a := (*size)(&bytes), (*age)(&d)
	for text, want := range map[string]int64{"1000": 1000, "5GB": 5e9, "5GiB": 5 << 30, "256 MiB": 256 << 20, "0": -1} {
		if err := s.Set(text); err != nil || bytes != want {
			t.Errorf("%q is %d, %v; want %d", text, bytes, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"0": 0, "90d": 90 * day, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "30s": 30 * time.Second} {
		if err := a.Set(text); err != nil || d != want {
			t.Errorf("%q is %s, %v; want %s", text, d, err, want)
		}
		if got := a.String(); got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	for _, text := range []string{"", "-1", "x", "9e99"} {
		if err := s.Set(text); err == nil {
			t.Errorf("size %q is %d", text, bytes)
		}
	}
	for _, text := range []string{"", "-1h", "-1d", "1", "1.5d", "99999d", "d"} {
		if err := a.Set(text); err == nil {
			t.Errorf("time %q is %s", text, d)
		}
	}
}

// TestFlagsAreTold: serve --help shows each with its default, and docs/operations.md does likewise.
func TestFlagsAreTold(t *testing.T) {
	t.Parallel()
	help := command(t, "", "serve", "--help").out
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []*pflag.FlagSet{limitFlags(new(local.Limits)), retentionFlags(new(retention.Policy))} {
		if !strings.Contains(help, "\n"+set.Name()+":\n") {
			t.Errorf("the help has no part %s", set.Name())
		}
		set.VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(help, "--"+f.Name+" ") || !strings.Contains(help, "(default "+f.DefValue+")") && f.DefValue != "0" {
				t.Errorf("the help does not tell of --%s and its default %s", f.Name, f.DefValue)
			}
			if row := "| `--" + f.Name + "` | " + f.DefValue + " |"; !strings.Contains(string(doc), row) {
				t.Errorf("docs/operations.md has no row that begins %q", row)
			}
		})
	}
}
