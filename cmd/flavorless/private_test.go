package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeKeepsFilesPrivate: other users can't read the files in the data folder, whatever its mode and the umask are.
func TestServeKeepsFilesPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
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
			return nil // the gateway sets its own mode for objects; the modes of the folders protect them
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("mode of %s = %s, want no permissions for others", path, info.Mode())
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Errorf("WalkDir finds %d files (%v), want at least 20", files, err)
	}
}
