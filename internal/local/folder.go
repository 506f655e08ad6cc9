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

// ErrInUse means that another process uses the data folder.
var ErrInUse = errors.New("another flavorless is using it")

const lockFile = "lock"

// folder is a data folder that is locked by this process.
type folder struct {
	dir  string // absolute
	lock *os.File
	info *os.File // server.json, locked; nil until the server is ready
}

// openFolder creates the folder if it is missing, and locks it until close or until the process ends.
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

// tryLock locks f and returns true, or returns false if a lock of another open file conflicts.
func tryLock(f *os.File, how int) (bool, error) {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// tighten takes away other users' permissions for everything that the server has in the folder: subfolders become 0700,
// so that nothing in them can be reached, and files become 0600. The mode of the folder itself stays, because it may be
// shared on purpose.
func (f *folder) tighten(ctx context.Context, log *slog.Logger) error {
	// SQLite creates its other files with the mode of this one.
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
		if !isOwn(e.Name()) {
			continue
		}
		path := f.path(e.Name())
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			log.WarnContext(ctx, "other users could access a file of the server; their permissions were removed",
				"event", "permissions", "path", path, "mode", info.Mode().Perm().String())
			err = os.Chmod(path, info.Mode().Perm()&0o700)
		}
		if err != nil {
			return fmt.Errorf("data folder %s: removing the permissions of other users: %w", f.dir, err)
		}
	}
	if info, err := os.Stat(f.dir); err == nil && info.Mode().Perm()&0o022 != 0 {
		log.WarnContext(ctx, "other users can replace files in the data folder; remove their write permission",
			"event", "permissions", "path", f.dir, "mode", info.Mode().Perm().String())
	}
	return nil
}

const (
	databaseFile = "flavorless.db"
	sortingDir   = "sorting" // temporary files of uploads that are being sorted
)

// isOwn reports whether an entry of a data folder belongs to the server, by its name. The server also creates temporary
// files such as server.json.123, and SQLite flavorless.db-wal.
func isOwn(entry string) bool {
	for _, name := range []string{
		databaseFile, "credentials.json", infoFile, lockFile, "bucket", "streams", "issuer", sortingDir,
	} {
		if rest, ok := strings.CutPrefix(entry, name); ok && (rest == "" || rest[0] == '-' || rest[0] == '.') {
			return true
		}
	}
	return false
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f *folder) close() error {
	if f.info != nil {
		_ = f.info.Close() // it was synced
	}
	return f.lock.Close()
}

// credentials are created with a data folder and kept in it, so that clients can use them after a restart.
type credentials struct {
	AccessKey    string `json:"accessKey"`
	SecretKey    string `json:"secretKey"`
	NATSUser     string `json:"natsUser"`
	NATSPassword string `json:"natsPassword"`
	WebhookKey   []byte `json:"webhookKey"` // from which the secrets of all webhooks are derived
}

// credentialsOf returns the credentials of a data folder, after creating those that are missing. A folder of an earlier
// release may have only some of them.
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
		c = credentials{
			AccessKey: "FLAVORLESS" + rand.Text()[:10], SecretKey: rand.Text() + rand.Text()[:14],
			NATSUser: "subscriber", NATSPassword: rand.Text(),
		}
	default:
		return c, err
	}
	if c.WebhookKey != nil {
		return c, nil
	}
	c.WebhookKey = make([]byte, 32)
	_, _ = rand.Read(c.WebhookKey) // never fails
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
