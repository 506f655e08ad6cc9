package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInUse: another process works on the data folder.
var ErrInUse = errors.New("another flavorless is using it")

const lockFile = "lock"

// folder is a data folder that this process alone works on.
type folder struct {
	dir  string // absolute
	lock *os.File
	info *os.File // nil until the server is ready
}

// openFolder makes the folder if it is missing, and locks it for as long as the process lives or until close.
func openFolder(dir string) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	if locked, err := tryLock(f, unix.LOCK_EX); err != nil || !locked {
		if err == nil {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("data folder %s: %w", dir, err), f.Close())
	}
	return &folder{dir: dir, lock: f}, nil
}

// tryLock gives false where another open file has a lock that is in the way.
func tryLock(f *os.File, how int) (bool, error) {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// tighten keeps other users away from all that the process has in the folder, whose own mode is left to its owner: it may be
// shared on purpose. Subfolders become 0700, so that nothing in them can be reached, and files become 0600.
func (f *folder) tighten(ctx context.Context, log *slog.Logger) error {
	// SQLite gives its other files the mode of this one.
	db, err := os.OpenFile(f.path(databaseFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		return fmt.Errorf("data folder %s: %w", f.dir, err)
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("data folder %s: %w", f.dir, err)
	}
	for _, e := range entries {
		if !made(e.Name()) {
			continue
		}
		path := f.path(e.Name())
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			log.WarnContext(ctx, "other users are kept out from now on", "event", "permissions", "path", path, "mode", info.Mode().Perm().String())
			err = os.Chmod(path, info.Mode().Perm()&0o700)
		}
		if err != nil {
			return fmt.Errorf("data folder %s: keeping other users out: %w", f.dir, err)
		}
	}
	if info, err := os.Stat(f.dir); err == nil && info.Mode().Perm()&0o022 != 0 {
		log.WarnContext(ctx, "other users can replace files in the data folder; take away their right to write there",
			"event", "permissions", "path", f.dir, "mode", info.Mode().Perm().String())
	}
	return nil
}

const databaseFile = "flavorless.db"

// made reports whether an entry of a data folder has a name that the process gives, also for a moment or in an earlier
// release: flavorless.db-wal, server.json.123. Anything else belongs to somebody else.
func made(entry string) bool {
	for _, name := range []string{databaseFile, "credentials.json", infoFile, lockFile, "bucket", "streams", "issuer"} {
		if rest, ok := strings.CutPrefix(entry, name); ok && (rest == "" || rest[0] == '-' || rest[0] == '.') {
			return true
		}
	}
	return false
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f *folder) close() error {
	if f.info != nil {
		_ = f.info.Close() // all was written
	}
	return f.lock.Close()
}

// credentials are made when a data folder is new, and stay with it: what was handed out goes on working after a restart.
type credentials struct {
	AccessKey    string `json:"accessKey"`
	SecretKey    string `json:"secretKey"`
	NATSUser     string `json:"natsUser"`
	NATSPassword string `json:"natsPassword"`
	WebhookKey   []byte `json:"webhookKey"` // that the secrets of all webhooks are made of
}

// credentialsOf reads the credentials of a data folder, after making those that are missing: all of a new one, some of one
// that an earlier version made.
func credentialsOf(dir string) (credentials, error) {
	var c credentials
	path := filepath.Join(dir, "credentials.json")
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &c); err != nil {
			return c, fmt.Errorf("reading %s: %w", path, err)
		}
	case errors.Is(err, fs.ErrNotExist):
		c = credentials{AccessKey: "FLAVORLESS" + rand.Text()[:10], SecretKey: rand.Text() + rand.Text()[:14], NATSUser: "subscriber", NATSPassword: rand.Text()}
	default:
		return c, err
	}
	if c.WebhookKey != nil {
		return c, nil
	}
	c.WebhookKey = make([]byte, 32)
	_, _ = rand.Read(c.WebhookKey) // it never fails
	if b, err = json.MarshalIndent(c, "", "  "); err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = writePrivate(path, b)
	}
	if err != nil {
		return c, fmt.Errorf("data folder %s: %w", dir, err)
	}
	return c, nil
}
