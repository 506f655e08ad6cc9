package broker

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"time"
)

// Config describes where and how the server runs. Zero values get the defaults named here.
type Config struct {
	Dir        string     // data folder, created with mode 0700; no two processes may share it
	Addr       string     // host:port for subscribers; without a host the loopback interface; empty: none can connect
	Subscriber Credential // may read CHANGES; without a user nobody may

	ChangesAge   time.Duration // how long CHANGES retains a change; 7 days
	ChangesBytes int64         // size of the changes that CHANGES retains, in bytes; 10 GiB

	Webhooks []string // names of the webhooks that have a queue: letters, digits and hyphens

	MaxConnections int // of subscribers; 256

	// Capacity returns an error if the disk is too full to write; nil always has capacity. It is called before anything is
	// published, and its error is the result of the publish. A stream that reaches the very end of the disk accepts
	// nothing more until the server is started again.
	Capacity func() error

	// SyncInterval is how often written data is flushed to the disk: a power failure can lose that much. 1 second.
	SyncInterval time.Duration

	Logger *slog.Logger // nil discards all
}

// Credential is a user name and a password.
type Credential struct{ User, Password string }

func (c Config) withDefaults() (_ Config, err error) {
	c.ChangesAge = cmp.Or(c.ChangesAge, 7*24*time.Hour)
	c.ChangesBytes = cmp.Or(c.ChangesBytes, 10<<30)
	c.MaxConnections = cmp.Or(c.MaxConnections, 256)
	c.SyncInterval = cmp.Or(c.SyncInterval, time.Second)
	if c.Capacity == nil {
		c.Capacity = func() error { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Dir, err = filepath.Abs(c.Dir)
	return c, err
}
