package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeKeepsFilesPrivate: whatever the umask and the mode of the data folder are, other users can read no file in it.
func TestServeKeepsFilesPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // as somebody else made it
		t.Fatal(err)
	}
	p := startServeAfter(t, "umask 0", dir)
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n,bad\n")
	p.settled("uploads/a.csv")
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files++
		if strings.HasPrefix(path, filepath.Join(dir, "bucket", "objects")) && info.Mode().IsRegular() {
			return nil // the gateway gives objects a mode of its own; the folders keep others away from them
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Errorf("%d files: %v", files, err)
	}
}
