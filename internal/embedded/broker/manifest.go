package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// manifest holds the sizes of the message files at a clean stop, in bytes, by path below the data folder. The server
// skips files that are missing or truncated, usually without a message, so only a manifest reveals them. (The server
// does check the content of what it reads.)
type manifest map[string]int64

func manifestFile(dir string) string { return filepath.Join(dir, "seal.json") } // as in earlier releases

// newManifest returns the manifest of what is stored.
func newManifest(dir string) (manifest, error) {
	names, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		return nil, err
	}
	m := manifest{}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		path, err := filepath.Rel(dir, name)
		if err != nil {
			return nil, err
		}
		m[path] = info.Size()
	}
	return m, nil
}

// writeManifest stores the manifest, once the server has closed all files.
func writeManifest(dir string) error {
	m, err := newManifest(dir)
	if err != nil {
		return err
	}
	content, err := json.Marshal(m)
	if err != nil {
		return err
	}
	temporary := manifestFile(dir) + ".tmp"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, manifestFile(dir))
}

// checkManifest compares what is stored with the manifest, if there is one, before the server changes anything.
func checkManifest(dir string) error {
	content, err := os.ReadFile(manifestFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var want manifest
	if err := json.Unmarshal(content, &want); err != nil {
		return fmt.Errorf("reading %s: %w", manifestFile(dir), err)
	}
	got, err := newManifest(dir)
	if err != nil {
		return err
	}
	for path, size := range want {
		if got[path] < size {
			return fmt.Errorf("stored messages are missing: %s had %d bytes at the last stop and has %d now; "+
				"restore %s from a copy, or delete %s to continue with what is left", path, size, got[path], dir, manifestFile(dir))
		}
	}
	return nil
}

// removeManifest is called when the server is ready and will change what is stored.
func removeManifest(dir string) error {
	if err := os.Remove(manifestFile(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
