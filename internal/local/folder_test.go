package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/local"
)

// TestFolderIsPrivate: in a data folder that everybody may look into, nobody else can read a file of the server,
// neither one that it makes nor one that an earlier release left with a wider mode. What is not its own it leaves
// alone.
func TestFolderIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, func(c *local.Config) { c.Dir = dir })
	s.settled(s.upload("a.csv", "person,flavor\nandy,vanilla\n,bad\n"))
	open := func() (found []string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o077 != 0 {
				found = append(found, e.Name())
			}
		}
		return found
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if found := open(); len(found) > 0 {
		t.Errorf("others can read %q", found)
	}
	s.stop()
	notes := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		mode := os.FileMode(0o644)
		if e.IsDir() {
			mode = 0o755
		}
		if err := os.Chmod(filepath.Join(dir, e.Name()), mode); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	if found := open(); strings.Join(found, " ") != "notes.txt" {
		t.Errorf("others can read %q, want notes.txt alone", found)
	}
}
