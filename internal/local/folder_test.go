package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/local"
)

// TestFolderIsPrivate checks that other users can't read files of the server, even if they can list the data folder:
// neither files that it creates nor files that an earlier release created with a wider mode. Files that are not its own
// keep their mode.
func TestFolderIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, func(c *local.Config) { c.Dir = dir })
	s.settled(s.upload("a.csv", "person,flavor\nandy,vanilla\n,bad\n"))
	readable := func() (found []string) {
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
	if found := readable(); len(found) > 0 {
		t.Errorf("others can read %q, want nothing", found)
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
	if found := readable(); strings.Join(found, " ") != "notes.txt" {
		t.Errorf("others can read %q, want only notes.txt", found)
	}
}
