package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// Limits of what can be taken of the machine. Zero values get the defaults named here.
type Limits struct {
	MaxUpload      int64         // greatest size of an uploaded file, in bytes; 5 GiB
	MaxRequests    int           // to the bucket that are under way; 256. Beyond, clients are told to slow down.
	MaxConnections int           // to the bucket, and as many to the API; 1024
	Patience       time.Duration // with a client that sends or reads nothing; 1 minute

	// MinFree is the reserve of the data folder's disk, in bytes; 256 MiB, none if negative. What would leave less of it free
	// is not accepted. Half of it is for reading what was accepted, another quarter for applying and announcing that; the
	// last is not touched. So a disk that fills up stops the flow from its head on, and where it stopped it goes on.
	MinFree int64

	Pause time.Duration // between two looks whether what stands still can go on; 5 seconds

	// OpenFiles is how many files the process may have open; what getrlimit says. MaxConnections, MaxRequests and the number of
	// subscribers are lowered to fit.
	OpenFiles int

	subscribers int // connections of subscribers over NATS; see fitDescriptors

	// FreeDisk tells how many bytes are free on a folder's disk, to ordinary users; what statfs says.
	FreeDisk func(dir string) (int64, error)
}

func (l Limits) withDefaults() Limits {
	l.MaxUpload = cmp.Or(l.MaxUpload, 5<<30)
	l.MaxRequests = cmp.Or(l.MaxRequests, 256)
	l.MaxConnections = cmp.Or(l.MaxConnections, 1024)
	l.Patience = cmp.Or(l.Patience, time.Minute)
	l.Pause = cmp.Or(l.Pause, 5*time.Second)
	l.MinFree = cmp.Or(l.MinFree, 256<<20)
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
	case l.MaxUpload < 0 || l.MaxRequests < 0 || l.MaxConnections < 0:
		return fmt.Errorf("%w: a limit can't be negative", ErrConfig)
	case l.MaxRequests > l.MaxConnections:
		return fmt.Errorf("%w: %d requests at once need as many connections; %d are allowed", ErrConfig, l.MaxRequests, l.MaxConnections)
	case l.Patience < time.Second/10:
		return fmt.Errorf("%w: nobody sends a request in %s", ErrConfig, l.Patience)
	}
	return nil
}

func freeDisk(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return usable(int64(st.Bavail)*int64(st.Bsize), st.Files, uint64(st.Ffree)), nil //nolint:unconvert // they have other types on macOS
}

// usable returns how many bytes are free on a disk for which so many inodes are left.
func usable(free int64, inodes, left uint64) int64 {
	if inodes == 0 { // it has as many as it needs
		return free
	}
	return min(free, int64(min(left, math.MaxInt64/inodeBytes))*inodeBytes)
}

// inodeBytes is what a free inode counts for, in bytes: a disk without inodes takes no file, however much is free, and the
// reserve has to hold some of them, too. Of the default reserve of 256 MiB that makes 4,096.
const inodeBytes = 64 << 10

// roomFor tells, by events.ErrUnavailable, that so many bytes more would leave less than that free. What can't be looked at
// is left to fail by itself.
func (s *Server) roomFor(bytes, reserve int64) error {
	free, err := s.cfg.Limits.FreeDisk(s.folder.dir)
	if err != nil || reserve <= 0 || free-bytes >= reserve {
		return nil //nolint:nilerr // see above
	}
	return fmt.Errorf("%w: the disk of %s is nearly full: %s are free, %s have to remain", events.ErrUnavailable, s.folder.dir,
		humanize.IBytes(uint64(max(free, 0))), humanize.IBytes(uint64(reserve)))
}

// The shares of the reserve; see Limits.MinFree.

func (s *Server) roomToRead() error { return s.roomFor(0, s.cfg.Limits.MinFree/2) }
func (s *Server) roomToWork() error { return s.roomFor(0, s.cfg.Limits.MinFree/4) }

// roomToStore is for objects: reports belong to the work on what was accepted.
func (s *Server) roomToStore(bucket string, bytes int64) error {
	if bucket == reportsBucket {
		return s.roomFor(bytes, s.cfg.Limits.MinFree/4)
	}
	return s.roomFor(bytes, s.cfg.Limits.MinFree)
}

// while lets a stage work while there is room. Without, its messages stay in hand, and it stands still: a full disk is no
// fault of theirs, and nothing of what fails because of it counts as a failed try. Nor does it when the house's own bucket
// is too busy, or gone already because the house is being stopped, or when no file can be opened.
func (s *Server) while(room func() error, handle queue.Handler) queue.Handler {
	return func(ctx context.Context, group []queue.Delivery) []error {
		if err := room(); err != nil {
			return slices.Repeat([]error{err}, len(group))
		}
		errs := handle(ctx, group)
		for i, err := range errs {
			if err == nil || errors.Is(err, events.ErrPermanent) {
				continue
			}
			if busy(err) || outOfDescriptors(err) || s.stopping.Load() || room() != nil {
				errs[i] = fmt.Errorf("%w: %w", events.ErrUnavailable, err)
			}
		}
		return errs
	}
}

// busy tells whether the bucket had no room, on the disk or for another request.
func busy(err error) bool {
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) {
		return false
	}
	status := answer.HTTPStatusCode()
	return status == http.StatusServiceUnavailable || status == http.StatusInsufficientStorage
}
