package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// writeTree writes files below a new folder and returns the folder.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const goodCSV = "person,flavor\nandy,vanilla\n"

func TestUploadMany(t *testing.T) {
	testutil.SkipIfShort(t)
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	upload := func(t *testing.T, stdin string, args ...string) result {
		return command(t, stdin, append([]string{"upload", "--data", p.dir}, args...)...)
	}
	lines := func(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

	t.Run("100 files are 100 lines and a total", func(t *testing.T) {
		files := map[string]string{}
		for i := range 100 {
			files[fmt.Sprintf("%03d.csv", i)] = goodCSV
		}
		got := upload(t, "", filepath.Join(writeTree(t, files), "*.csv")) // a pattern that the shell did not expand
		if all := lines(got.out); got.code != exitOK || len(all) != 101 ||
			all[100] != "100 files: 100 live; 100 rows: 100 applied, 0 unchanged, 0 superseded, 0 rejected" {
			t.Errorf("upload = %+v with %d lines, want exit code %d, 100 lines and a total", got, len(all), exitOK)
		}
	})
	t.Run("failed files are reported in full", func(t *testing.T) {
		dir := writeTree(t, map[string]string{"a.csv": goodCSV, "b.csv": "person,flavor\nbill,\n", "c.json": `{"a":`,
			"d.csv": goodCSV})
		got := upload(t, "", dir)
		if got.code != exitFailed || !strings.Contains(got.out, "missing_flavor") ||
			!strings.Contains(got.out, "malformed_json") ||
			!strings.HasSuffix(got.out, "\n4 files: 2 live, 1 live with rejected rows, 1 failed; 3 rows: 2 applied, 0 "+
				"unchanged, 0 superseded, 1 rejected\n") {
			t.Errorf("upload = %+v, want exit code %d, both failures and a total", got, exitFailed)
		}
	})
	t.Run("a refused file does not keep the others from being uploaded", func(t *testing.T) {
		dir := writeTree(t, map[string]string{"a.csv": goodCSV, "z.csv": goodCSV})
		p.put("uploads/conflict.csv/x.csv", goodCSV)
		conflict := writeFile(t, "conflict.csv", goodCSV)
		got := upload(t, "", conflict, filepath.Join(dir, "a.csv"), filepath.Join(dir, "z.csv"))
		if all := lines(got.out); strings.HasPrefix(all[len(all)-1], "3 files: 2 live, 1 failed") && got.code == exitFailed &&
			strings.Count(got.err, "\n") == 1 {
			return
		}
		if all := lines(got.out); got.code != exitOK ||
			!strings.HasPrefix(all[len(all)-1], "3 files: 3 live") { // the bucket may keep both keys
			t.Errorf("upload = %+v, want 2 or 3 live files", got)
		}
	})
	t.Run("folder", func(t *testing.T) {
		dir := writeTree(t, map[string]string{
			"top.csv": goodCSV, "2026/11/deep.json.gz": "", "2026/README.md": "", "notes.txt": "",
			".git/x.csv": goodCSV, ".hidden.csv": goodCSV, "._top.csv": "", "_SUCCESS": "", "CAPS.CSV": goodCSV,
		})
		got := upload(t, "", dir+"/", "--detach")
		for _, want := range []string{"as uploads/top.csv\n", "as uploads/2026/11/deep.json.gz\n", "as uploads/CAPS.CSV\n",
			"3 files: 3 uploaded\n"} {
			if !strings.Contains(got.out, want) {
				t.Errorf("the output lacks %q:\n%s", want, got.out)
			}
		}
		for _, want := range []string{"skipped 6 files", ".git", "and 1 more"} {
			if !strings.Contains(got.err, want) {
				t.Errorf("stderr lacks %q:\n%s", want, got.err)
			}
		}
		if got.code != exitOK {
			t.Errorf("exit code %d, want %d", got.code, exitOK)
		}
	})
	t.Run("standard input", func(t *testing.T) {
		for i, args := range [][]string{{"-", "--as", "stdin.csv"}, {"-", "--key", "in/stdin.csv"},
			{"-", "--as", "whatever.tsv", "--key", "stdin2.csv"}} {
			key := []string{"uploads/stdin.csv", "uploads/in/stdin.csv", "uploads/stdin2.csv"}[i]
			if got := upload(t, goodCSV, args...); got.code != exitOK || !strings.HasPrefix(got.out, key+"  live after") {
				t.Errorf("%v: %+v, want %s live", args, got, key)
			}
		}
	})
	t.Run("detached as JSON", func(t *testing.T) {
		got := upload(t, "", writeFile(t, "detached.csv", goodCSV), "--detach", "--json")
		if u := p.settled("uploads/detached.csv"); got.code != exitOK ||
			got.out != fmt.Sprintf("{\"bucket\":%q,\"key\":%q,\"etag\":%q}\n", u.Bucket, u.Key, u.ETag) {
			t.Errorf("upload --detach --json = %+v, want the bucket, key and ETag of %+v", got, u)
		}
	})
	dir := writeTree(t, map[string]string{"a/x.csv": "", "b/x.csv": "", "none/x.txt": ""})
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"standard input without a name", []string{"-"}, "--as"},
		{"a name for no standard input", []string{filepath.Join(dir, "a/x.csv"), "--as", "x.csv"}, "--as"},
		{"standard input of an unknown format", []string{"-", "--as", "x"}, ".csv"},
		{"no file matches", []string{filepath.Join(dir, "*.csv")}, "no file matches"},
		{"bad pattern", []string{filepath.Join(dir, "[*.csv")}, "pattern"},
		{"no file below", []string{filepath.Join(dir, "none")}, ".csv"},
		{"the same key twice", []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}, "the same key, uploads/x.csv"},
		{"one key for two", []string{dir, "--key", "x.csv"}, "there are 2"},
		{"device", []string{os.DevNull}, "upload - --as"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := upload(t, "", test.args...); got.code != exitUsage || !strings.Contains(got.err, test.want) ||
				got.out != "" {
				t.Errorf("%+v, want exit code %d and %q", got, exitUsage, test.want)
			}
		})
	}
}

func TestTally(t *testing.T) {
	s := uploadSummary{files: 5}
	s.add(events.Upload{ID: "a", Status: events.Live, Counts: events.Counts{
		Rows: 4000, Applied: 2, Unchanged: 3997, Superseded: 1,
	}}, nil)
	s.add(events.Upload{ID: "b", Status: events.Live, Counts: events.Counts{Rows: 2, Applied: 1, Rejected: 1}}, nil)
	s.add(events.Upload{}, &fileError{code: exitFailed, err: os.ErrPermission})
	s.add(events.Upload{}, &fileError{code: exitFailed, pending: true, err: errTimeout})
	const want = "5 files: 1 live, 1 live with rejected rows, 1 failed, 1 not live yet, 1 not done; 4,002 rows: 3 " +
		"applied, 3,997 unchanged, 1 superseded, 1 rejected"
	if got := s.String(); got != want || s.code != exitFailed {
		t.Errorf("the total is %q with exit code %d, want %q with %d", got, s.code, want, exitFailed)
	}
}
