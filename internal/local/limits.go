package local

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Limits bound the resources that the server uses. Zero values stand for those of [DefaultLimits].
type Limits struct {
	MaxUpload      int64         // size of an uploaded file in bytes
	MaxRequests    int           // concurrent requests to the bucket; beyond, clients get SlowDown
	MaxConnections int           // open connections to the bucket, and as many to the API
	ClientTimeout  time.Duration // for a client that sends or reads nothing

	// MinFree is the reserve of free space on the disk of the data folder, in bytes; there is none if it is negative.
	// Uploads that would use it are rejected. Accepted uploads are read until half of it is left, and applied and
	// announced until a quarter is left; the rest is never used. So while the disk fills up, the stages of the pipeline
	// pause one after the other, the first stage first. They continue once there is space again.
	MinFree int64

	RetryInterval time.Duration // between two checks whether paused work can continue

	// OpenFiles is how many files the process may open; by default the limit of the operating system. If necessary,
	// MaxConnections, MaxRequests and the number of subscribers are lowered to fit.
	OpenFiles int

	subscribers int // maximum number of NATS connections; see fitDescriptors

	// FreeDisk returns how many bytes an ordinary user may still store in a folder; by default from statfs.
	FreeDisk func(dir string) (int64, error)
}

// DefaultLimits returns the limits of a server that is not configured.
func DefaultLimits() Limits {
	return Limits{
		MaxUpload: 5 << 30, MaxRequests: 256, MaxConnections: 1024, ClientTimeout: time.Minute,
		MinFree: 256 << 20, RetryInterval: 5 * time.Second,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	l.MaxUpload = cmp.Or(l.MaxUpload, d.MaxUpload)
	l.MaxRequests = cmp.Or(l.MaxRequests, d.MaxRequests)
	l.MaxConnections = cmp.Or(l.MaxConnections, d.MaxConnections)
	l.ClientTimeout = cmp.Or(l.ClientTimeout, d.ClientTimeout)
	l.MinFree = cmp.Or(l.MinFree, d.MinFree)
	l.RetryInterval = cmp.Or(l.RetryInterval, d.RetryInterval)
	if l.OpenFiles == 0 {
		l.OpenFiles = openFiles()
	}
	if l.FreeDisk == nil {
		l.FreeDisk = freeDisk
	}
	return l
}

func (l Limits) check() error {
	switch {
	case l.MaxUpload < 0:
		return errors.New("--max-upload-size must be at least 1B")
	case l.MaxRequests < 0:
		return errors.New("--max-uploads must be at least 1")
	case l.MaxConnections < 0:
		return errors.New("--max-connections must be at least 1")
	case l.MaxRequests > l.MaxConnections:
		return fmt.Errorf("--max-uploads %d needs as many connections, but --max-connections is %d; change one of them",
			l.MaxRequests, l.MaxConnections)
	case l.ClientTimeout < time.Second/10:
		return errors.New("--client-timeout must be at least 100ms")
	}
	return nil
}
