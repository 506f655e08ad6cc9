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

// Info tells how to reach a running server. It is kept in its data folder, readable by its owner alone, because it has the
// credentials.
type Info struct {
	PID           int               `json:"pid"`
	API           string            `json:"api"`     // base URL
	S3            string            `json:"s3"`      // endpoint URL
	NATS          string            `json:"nats"`    // URL without credentials
	Metrics       string            `json:"metrics"` // URL; empty if they are not served
	Bucket        string            `json:"bucket"`
	ReportsBucket string            `json:"reportsBucket"`
	Region        string            `json:"region"`
	AccessKey     string            `json:"accessKey"`
	SecretKey     string            `json:"secretKey"`
	NATSUser      string            `json:"natsUser"` // may read changes, and nothing else
	NATSPassword  string            `json:"natsPassword"`
	Audience      string            `json:"audience"`
	Scope         string            `json:"scope"`             // required; may be empty
	Development   bool              `json:"developmentIssuer"` // tokens come from the data folder's own issuer
	Ignore        events.IgnoreList `json:"ignore"`            // names of objects that are no uploads
	Control       string            `json:"control"`           // secret for control.Path; new at each start
}

const infoFile = "server.json"

// ErrNotRunning: no server runs on the data folder.
var ErrNotRunning = errors.New("no server is running")

// ReadInfo tells how to reach the server that runs on a data folder. The error is ErrNotRunning if none does. It leaves the
// folder's own lock alone: who looks must not keep a server from starting.
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
	left, err := tryLock(f, unix.LOCK_SH) // by a server that was killed
	if err != nil {
		return Info{}, fmt.Errorf("looking whether %s is of a running server: %w", path, err)
	}
	if left {
		return Info{}, fmt.Errorf("%w on the data folder %s", ErrNotRunning, dir)
	}
	var info Info
	if err := json.NewDecoder(f).Decode(&info); err != nil {
		return Info{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return info, nil
}

// tell writes the file, which stays locked until the process ends or closes the folder: while it is, it is true.
func (f *folder) tell(info Info) error {
	b, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	f.info, err = replacePrivate(f.path(infoFile), b)
	return err
}

// untell removes the file, should there be one.
func (f *folder) untell() error {
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

// replacePrivate replaces a file as a whole, so that a reader never sees half of it, nor one that is not locked yet.
func replacePrivate(path string, b []byte) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	_, err = tryLock(f, unix.LOCK_EX) // nobody else has it
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
