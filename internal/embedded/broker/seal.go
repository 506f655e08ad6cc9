package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// seal is the sizes in bytes of the blocks of messages at a clean stop, by path below the directory. The server leaves
// out blocks that are missing or cut off, mostly without a word, so that only a note from before tells that something is
// missing. (It does check the content of what it reads.)
type seal map[string]int64

func sealFile(dir string) string { return filepath.Join(dir, "seal.json") }

func blocks(dir string) (seal, error) {
	names, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		return nil, err
	}
	found := seal{}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		path, err := filepath.Rel(dir, name)
		if err != nil {
			return nil, err
		}
		found[path] = info.Size()
	}
	return found, nil
}

// writeSeal is called when the server has closed all files.
func writeSeal(dir string) error {
	found, err := blocks(dir)
	if err != nil {
		return err
	}
	content, err := json.Marshal(found)
	if err != nil {
		return err
	}
	temporary := sealFile(dir) + ".tmp"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, sealFile(dir))
}

// checkSeal compares what is stored with the seal, if the last stop was a clean one. It is called before the server
// touches anything.
func checkSeal(dir string) error {
	content, err := os.ReadFile(sealFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var was seal
	if err := json.Unmarshal(content, &was); err != nil {
		return fmt.Errorf("reading %s: %w", sealFile(dir), err)
	}
	found, err := blocks(dir)
	if err != nil {
		return err
	}
	for path, size := range was {
		if found[path] < size {
			return fmt.Errorf("stored messages are missing: %s had %d bytes when it was closed, and has %d; "+
				"restore %s from a copy, or delete %s to go on with what is left", path, size, found[path], dir, sealFile(dir))
		}
	}
	return nil
}

// breakSeal is called when the server is ready and will change what is stored.
func breakSeal(dir string) error {
	if err := os.Remove(sealFile(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
