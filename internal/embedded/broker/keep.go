package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// While the server starts, all that is stored is linked to from a second folder, too. For a stream that it can't open, be it
// only because the disk is full at that moment or a file too many is open, the server deletes from the disk; and the place
// of a consumer likewise.

func keptDir(dir string) string { return filepath.Join(dir, "kept") }

// keep links all files. It is called before the server touches anything. An error means that the disk takes nothing, and
// that it is no time to start; where there can be no links, nothing is kept.
func keep(dir string) error {
	err := eachFile(filepath.Join(dir, "jetstream"), func(from, path string) error {
		to := filepath.Join(keptDir(dir), path)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.Link(from, to)
	})
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK) {
		return letGo(dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keeping what is stored while the server starts: %w", err), letGo(dir))
	}
	return nil
}

// restore puts back what is gone of what was kept; without anything kept it does nothing. It is called when a start has
// failed, and before the next, should the process have died during one.
func restore(dir string) error {
	err := eachFile(keptDir(dir), func(from, path string) error {
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
		return fmt.Errorf("putting back what was kept in %s: %w", keptDir(dir), err)
	}
	return letGo(dir)
}

// letGo is called when the server has everything open.
func letGo(dir string) error { return os.RemoveAll(keptDir(dir)) }

// eachFile gives the files of a folder and those below, with their paths from it. There need not be such a folder.
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
