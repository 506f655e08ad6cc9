package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/flavorless/flavorless/events"
)

// Info says how to reach a running server. It is stored in the data folder, readable only by the owner because it
// contains credentials.
type Info struct {
	PID           int               `json:"pid"`
	API           string            `json:"api"`     // base URL
	S3            string            `json:"s3"`      // endpoint URL
	NATS          string            `json:"nats"`    // URL without credentials
	Metrics       string            `json:"metrics"` // URL; empty if metrics are not served
	Bucket        string            `json:"bucket"`
	ReportsBucket string            `json:"reportsBucket"`
	Region        string            `json:"region"`
	AccessKey     string            `json:"accessKey"`
	SecretKey     string            `json:"secretKey"`
	NATSUser      string            `json:"natsUser"` // can only read changes
	NATSPassword  string            `json:"natsPassword"`
	Audience      string            `json:"audience"`
	Scope         string            `json:"scope"`             // required; may be empty
	Development   bool              `json:"developmentIssuer"` // tokens come from the data folder's own issuer
	Ignore        events.IgnoreList `json:"ignore"`            // names of objects that are not uploads
	Control       string            `json:"control"`           // secret for control.Path; new at each start
}

const infoFile = "server.json"

// ErrNotRunning means that no server runs on the data folder.
var ErrNotRunning = errors.New("no server is running")

// ReadInfo returns how to reach the server that runs on a data folder, or ErrNotRunning. It does not use the lock of
// the folder, so that it can't keep a server from starting.
func ReadInfo(dir string) (Info, error) {
	path := filepath.Join(dir, infoFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, fmt.Errorf("%w on the data folder %s", ErrNotRunning, dir)
	}
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	// A running server has locked the file; one that was killed has left it unlocked.
	stale, err := tryLock(f, unix.LOCK_SH)
	if err != nil {
		return Info{}, fmt.Errorf("checking whether %s belongs to a running server: %w", path, err)
	}
	if stale {
		return Info{}, fmt.Errorf("%w on the data folder %s", ErrNotRunning, dir)
	}
	var info Info
	if err := json.NewDecoder(f).Decode(&info); err != nil {
		return Info{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return info, nil
}

// writeInfo writes server.json and keeps it locked until the folder is closed or the process ends. Its content is valid
// as long as it is locked.
func (f *folder) writeInfo(info Info) error {
	b, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	f.info, err = replacePrivate(f.path(infoFile), b)
	return err
}

// removeInfo removes server.json if it exists.
func (f *folder) removeInfo() error {
	err := os.Remove(f.path(infoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func writePrivate(path string, b []byte) error {
	f, err := replacePrivate(path, b)
	if err != nil {
		return err
	}
	return f.Close()
}

// replacePrivate replaces a file atomically and returns it locked, so that a reader never sees half of it, or an
// unlocked file.
func replacePrivate(path string, b []byte) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	_, err = tryLock(f, unix.LOCK_EX) // succeeds, because no other process knows the file
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}
