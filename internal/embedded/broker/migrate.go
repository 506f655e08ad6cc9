package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Folders of CHANGES, of its mirror, of the consumers of a stream, and of consumers that are set aside.

func changesDir(dir string) string {
	return filepath.Join(streamsDir(dir, internalAccount), string(Changes))
}
func mirrorDir(dir string) string {
	return filepath.Join(streamsDir(dir, subscriberAccount), string(Changes))
}
func consumersDir(stream string) string { return filepath.Join(stream, "obs") }
func asideDir(dir string) string        { return filepath.Join(dir, "consumers") }

// migrateLog migrates a data folder of a release that had no mirror: CHANGES moves from the account of subscribers to
// the internal one. The consumers of subscribers are set aside until there is a mirror. If it is interrupted, it can be
// repeated.
func migrateLog(dir string) error {
	if there, err := exists(changesDir(dir)); there || err != nil {
		return err
	}
	if there, err := exists(mirrorDir(dir)); !there || err != nil {
		return err
	}
	err := removeManifest(dir) // it was checked, and the files are about to get other names
	if err == nil {
		err = setConsumersAside(dir, mirrorDir(dir))
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(changesDir(dir)), 0o700)
	}
	if err == nil {
		err = os.Rename(mirrorDir(dir), changesDir(dir))
	}
	if err != nil {
		return fmt.Errorf("moving the log of changes to its new folder: %w", err)
	}
	return nil
}

// maxConsumerFile is the largest description of a consumer that is preserved, in bytes. Larger ones have thousands of
// filters, which keep the server busy for minutes at a start. Subscribers can't create such consumers any more.
const maxConsumerFile = 2 * maxRequest

// setConsumersAside moves the consumers of subscribers away from a stream.
func setConsumersAside(dir, stream string) error {
	aside := asideDir(dir)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(consumersDir(stream))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ForwardConsumer("")) {
			continue
		}
		from, to := filepath.Join(consumersDir(stream), e.Name()), filepath.Join(aside, e.Name())
		if info, err := os.Stat(filepath.Join(from, "meta.inf")); err != nil || info.Size() > maxConsumerFile {
			if err := os.RemoveAll(from); err != nil {
				return err
			}
			continue
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
	}
	return nil
}

// removeMirror deletes the mirror, but sets its consumers aside.
func removeMirror(dir string) error {
	if err := setConsumersAside(dir, mirrorDir(dir)); err != nil {
		return err
	}
	return os.RemoveAll(mirrorDir(dir))
}

// restoreConsumers moves the consumers that were set aside to the mirror.
func restoreConsumers(dir string) error {
	to := consumersDir(mirrorDir(dir))
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(asideDir(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(asideDir(dir), e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(asideDir(dir))
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
