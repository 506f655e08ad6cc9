package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Info tells how to reach a running server. It is kept in its data folder, readable by its owner alone, because it has the
// credentials.
type Info struct {
	PID           int    `json:"pid"`
	API           string `json:"api"`     // base URL
	S3            string `json:"s3"`      // endpoint URL
	NATS          string `json:"nats"`    // URL without credentials
	Metrics       string `json:"metrics"` // URL; empty if they are not served
	Bucket        string `json:"bucket"`
	ReportsBucket string `json:"reportsBucket"`
	Region        string `json:"region"`
	AccessKey     string `json:"accessKey"`
	SecretKey     string `json:"secretKey"`
	NATSUser      string `json:"natsUser"` // may read changes, and nothing else
	NATSPassword  string `json:"natsPassword"`
	Audience      string `json:"audience"`
	Scope         string `json:"scope"`             // required; may be empty
	Development   bool   `json:"developmentIssuer"` // tokens come from the data folder's own issuer
	Control       string `json:"control"`           // secret for DeadLettersPath; another at each start
}

const infoFile = "server.json"

// ErrNotRunning: no server runs on the data folder.
var ErrNotRunning = errors.New("no server is running")

// ReadInfo tells how to reach the server that runs on a data folder. The error is ErrNotRunning if none does.
func ReadInfo(dir string) (Info, error) {
	free, err := unlocked(dir)
	if err != nil {
		return Info{}, err
	}
	var info Info
	b, err := os.ReadFile(filepath.Join(dir, infoFile))
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && free:
		return Info{}, fmt.Errorf("%w on the data folder %s", ErrNotRunning, dir)
	case err != nil:
		return Info{}, err
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return Info{}, fmt.Errorf("reading %s: %w", filepath.Join(dir, infoFile), err)
	}
	return info, nil
}

// writeInfo replaces the file as a whole, so that a reader never sees half of it.
func writeInfo(dir string, info Info) error {
	b, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	return writePrivate(filepath.Join(dir, infoFile), b)
}

func removeInfo(dir string) error {
	err := os.Remove(filepath.Join(dir, infoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func writePrivate(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
