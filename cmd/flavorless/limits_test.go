package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/flavorless/flavorless/internal/local"
)

func TestSizeFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]size{"1000": 1000, "5GB": 5e9, "5GiB": 5 << 30, "256 MiB": 256 << 20, "0": -1} {
		var got size
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("Set(%q) = %v with the value %d, want %d", text, err, got, want)
		}
	}
	for _, text := range []string{"", "-1", "x", "9e99"} {
		var got size
		if err := got.Set(text); err == nil {
			t.Errorf("Set(%q) = nil with the value %d, want an error", text, got)
		}
	}
}

func TestAgeFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "90d": 90 * day, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "30s": 30 * time.Second,
	} {
		got := age(1)
		if err := got.Set(text); err != nil || time.Duration(got) != want {
			t.Errorf("Set(%q) = %v with the value %s, want %s", text, err, time.Duration(got), want)
		}
		if got.String() != text {
			t.Errorf("String of %s = %q, want %q", want, got.String(), text)
		}
	}
	for _, text := range []string{"", "-1h", "-1d", "1", "1.5d", "99999d", "d"} {
		var got age
		if err := got.Set(text); err == nil {
			t.Errorf("Set(%q) = nil with the value %s, want an error", text, time.Duration(got))
		}
	}
}

// TestFlagsAreDocumented checks that serve --help and docs/operations.md have each flag with its default.
func TestFlagsAreDocumented(t *testing.T) {
	t.Parallel()
	help := command(t, "", "serve", "--help").out
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	if row := "\n| `--sort-from` | 1MiB |"; !strings.Contains(string(doc), row) {
		t.Errorf("docs/operations.md has no row that begins with %q", row)
	}
	cfg := local.Defaults()
	for _, set := range []*pflag.FlagSet{limitFlags(&cfg.Limits), retentionFlags(&cfg.Retention)} {
		if !strings.Contains(help, "\n"+set.Name()+":\n") {
			t.Errorf("serve --help has no section %s, want one", set.Name())
		}
		set.VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(help, "--"+f.Name+" ") || !strings.Contains(help, "(default "+f.DefValue+")") &&
				f.DefValue != "0" {
				t.Errorf("serve --help lacks --%s or its default %s", f.Name, f.DefValue)
			}
			if row := "| `--" + f.Name + "` | " + f.DefValue + " |"; !strings.Contains(string(doc), row) {
				t.Errorf("docs/operations.md has no row that begins with %q", row)
			}
		})
	}
}

// TestSortFrom checks that serve sorts files of at least the size of --sort-from, so that it writes no row of a file
// that is uploaded again; and that it sorts no file if the size is 0.
func TestSortFrom(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"20B":  "2 rows: 0 applied, 2 unchanged, 0 superseded, 0 rejected",
		"1KiB": "2 rows: 2 applied, 0 unchanged, 0 superseded, 0 rejected",
		"0":    "2 rows: 2 applied, 0 unchanged, 0 superseded, 0 rejected",
	} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			p := startServe(t, filepath.Join(t.TempDir(), "data"), "--sort-from", from)
			file := writeFile(t, "a.csv", "person,flavor\nandy,mint\nbill,fig\n")
			if got := p.command("upload", file); got.code != exitOK || !strings.Contains(got.out, "2 rows: 2 applied") {
				t.Errorf("upload = %+v, want 2 rows applied", got)
			}
			first := p.command("lookup", "andy", "--json").out
			if got := p.command("upload", file); got.code != exitOK || !strings.Contains(got.out, want) {
				t.Errorf("upload again = %+v, want %q", got, want)
			}
			if same := p.command("lookup", "andy", "--json").out == first; same != (from == "20B") {
				t.Errorf("lookup prints the same upload again: %t, want %t", same, from == "20B")
			}
		})
	}
}

// TestZeros checks that serve refuses 0 where it has no meaning, and names the flag and the smallest value.
func TestZeros(t *testing.T) {
	t.Parallel()
	for flag, least := range map[string]string{
		"webhook-tries": "1", "max-uploads": "1", "max-connections": "1", "max-upload-size": "1B", "client-timeout": "100ms",
		"read-for": "1ms", "keep-changes": "1h", "keep-removed": "1d", "keep-reports": "1h", "keep-unfinished": "1h",
		"max-changes-size": "1MiB",
	} {
		got := command(t, "", "serve", "--data", filepath.Join(t.TempDir(), "data"), "--"+flag, "0")
		want := "flavorless: --" + flag + " must be at least " + least
		if got.code != exitUsage || !strings.HasPrefix(got.err, want) {
			t.Errorf("serve --%s 0: exit code %d, stderr %q; want %d and %q", flag, got.code, got.err, exitUsage, want)
		}
	}
}
