package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// While the server starts, a second folder holds hard links to all stored files. The server deletes a stream or a
// consumer that it can't open, even if the only reason is that the disk is full or that too many files are open.

func snapshotDir(dir string) string { return filepath.Join(dir, "kept") } // as in earlier releases

// takeSnapshot links all files, before the server changes anything. It fails if the disk is full. On a file system
// without hard links there is no snapshot.
func takeSnapshot(dir string) error {
	err := eachFile(filepath.Join(dir, "jetstream"), func(from, path string) error {
		to := filepath.Join(snapshotDir(dir), path)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.Link(from, to)
	})
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK) {
		return removeSnapshot(dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("linking the stored files before the start: %w", err), removeSnapshot(dir))
	}
	return nil
}

// restoreSnapshot puts deleted files back, if there is a snapshot. It is called after a start has failed, and before
// the next one in case the process died during a start.
func restoreSnapshot(dir string) error {
	err := eachFile(snapshotDir(dir), func(from, path string) error {
		to := filepath.Join(dir, "jetstream", path)
		_, err := os.Lstat(to)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.Rename(from, to)
	})
	if err != nil {
		return fmt.Errorf("restoring the files of %s: %w", snapshotDir(dir), err)
	}
	return removeSnapshot(dir)
}

// removeSnapshot is called when the server has opened everything.
func removeSnapshot(dir string) error { return os.RemoveAll(snapshotDir(dir)) }

// eachFile calls do for each file in a folder and below, with its path relative to the folder. The folder may be
// missing.
func eachFile(folder string, do func(file, path string) error) error {
	return filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && file == folder {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		path, err := filepath.Rel(folder, file)
		if err != nil {
			return err
		}
		return do(file, path)
	})
}
