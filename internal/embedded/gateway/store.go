package gateway

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"

	"github.com/flavorless/flavorless/events"
)

// store is versitygw's posix backend with announcements. What creates objects is in upload.go and copy.go, the rest
// (buckets.go, passing.go) only turns bucket names into absolute paths and back. Each method first admits the request
// (access.go), which checks all names in it. What it does not mention (websites, ownership, locks, versions, changes to
// buckets) answers 501 Not Implemented, and is refused before by onlyOffered.
type store struct {
	backend.BackendUnsupported

	posix *posix.Posix
	meta  meta.MetadataStorer
	clock *clock
	root  string   // absolute; its directories are the buckets
	files *os.Root // opened on root; nothing outside of it is reached through it

	uploader, server Credential // who may send requests
	readOnly         []string   // buckets that only the server may write to

	bucket, prefix string // what is announced
	stored         func(context.Context, events.Object) error
	life           context.Context // ends when the gateway does
	maxObject      int64
	room           func(bucket string, bytes int64) error
	sync           bool
	log            *slog.Logger

	keys        stripes // held by lockKey from when an object was received until it has its name, and while it is deleted
	completions stripes // held while a multipart upload is being completed
}

var _ backend.Backend = (*store)(nil)

func (*store) String() string { return "gateway" }

func (s *store) close() error {
	s.posix.Shutdown()
	return errors.Join(s.clock.close(), s.files.Close())
}

// at is a bucket's directory. The backend joins what it takes for a bucket's name with the key, and does not care that it
// is a path: so it needs no working directory of its own. The name was checked before, by admitBucket.
func (s *store) at(bucket string) string { return filepath.Join(s.root, bucket) }

// in is at for the pointers in requests, which are not nil once the request was admitted.
func (s *store) in(bucket *string) *string {
	at := s.at(*bucket)
	return &at
}

// announces tells whether Stored is told of an object.
func (s *store) announces(bucket, key string) bool {
	return s.stored != nil && bucket == s.bucket && strings.HasPrefix(key, s.prefix)
}

// fail makes an answer of an error: a client sees S3's errors, naming buckets as it did; what else goes wrong is logged
// here (versitygw would print it), with attributes that tell what it is about, and is a plain 500 outside.
func (s *store) fail(ctx context.Context, err error, about ...any) error {
	if err == nil {
		return nil
	}
	var bucket s3err.BucketError
	if errors.As(err, &bucket) {
		bucket.BucketName = filepath.Base(bucket.BucketName)
		return bucket
	}
	if errors.Is(err, errFull) { // logged before
		return errFull
	}
	if isFull(err) {
		s.log.WarnContext(ctx, "an upload was refused: the disk is full", slog.Any("error", err))
		return errFull
	}
	var known s3err.S3Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.Canceled) { // only a stop cancels requests, not a client that went away
		return unavailable("The server is being stopped. Please try again.")
	}
	s.log.ErrorContext(ctx, "bucket request failed", append(about, slog.Any("error", err))...)
	return s3err.GetAPIError(s3err.ErrInternalError)
}

// errFull tells a client that there is no room. Its status is one that clients do not retry: nothing changes in seconds.
var errFull = s3err.APIError{
	Code: "InsufficientStorage", HTTPStatusCode: http.StatusInsufficientStorage,
	Description: "The disk of the server is full, nothing was stored. Free some of it (serve --min-free says how much has to be free), and upload again.",
}

// isFull tells whether an error says so, in the words of the operating system or of versitygw.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice)) || errors.Is(err, s3err.GetAPIError(s3err.ErrQuotaExceeded))
}

// fits tells, by an error, that so many bytes can't be stored in a bucket; none, where the number is not known.
func (s *store) fits(ctx context.Context, bucket string, bytes *int64) error {
	n := int64(0)
	if bytes != nil {
		n = max(*bytes, 0)
	}
	if n > s.maxObject {
		return s3err.GetEntityTooLargeErr(n, s.maxObject)
	}
	if err := s.room(bucket, n); err != nil {
		s.log.WarnContext(ctx, "an upload was refused: the disk is full", slog.Any("error", err))
		return errFull
	}
	return nil
}

// unavailable asks the client to try again.
func unavailable(why string) error {
	return s3err.APIError{Code: "ServiceUnavailable", Description: why, HTTPStatusCode: http.StatusServiceUnavailable}
}

// stripes are locks by name. Different names may share one, which costs a wait and nothing else.
type stripes struct {
	seed  maphash.Seed
	locks [256]sync.RWMutex
}

func newStripes() stripes { return stripes{seed: maphash.MakeSeed()} }

// index returns which lock belongs to a name.
func (s *stripes) index(name string) int {
	return int(maphash.String(s.seed, name) % uint64(len(s.locks))) //nolint:gosec // less than 256
}

// lock waits for its turn with a name, and returns what ends it.
func (s *stripes) lock(name string) (unlock func()) {
	l := &s.locks[s.index(name)]
	l.Lock()
	return l.Unlock
}

// lockKey locks the path of a key for one writer, and the folders above it for all writers that need them as folders. So a key
// "a" and a key "a/b" are never stored or deleted at the same time, but "a/b" and "a/c" are. It returns what unlocks the path.
func (s *stripes) lockKey(bucket, key string) (unlock func()) {
	own := path.Join(bucket, key)
	alone := map[int]bool{}
	for folder := path.Dir(own); len(folder) > len(bucket); folder = path.Dir(folder) {
		alone[s.index(folder)] = false
	}
	alone[s.index(own)] = true
	order := slices.Sorted(maps.Keys(alone)) // the same for all writers, so that they can't wait for each other in a circle
	for _, i := range order {
		if alone[i] {
			s.locks[i].Lock()
		} else {
			s.locks[i].RLock()
		}
	}
	return func() {
		for _, i := range order {
			if alone[i] {
				s.locks[i].Unlock()
			} else {
				s.locks[i].RUnlock()
			}
		}
	}
}
