package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"

	"github.com/flavorless/flavorless/events"
)

// Objects yields every stored object that OnStored is called for, under the same identity, in no particular order. It
// may run while the gateway serves; it then yields some of the objects that are stored meanwhile. Memory does not grow
// with the number of objects. Objects stops at the first error of yield and returns it unchanged.
//
// Files that were not stored through this gateway have no ETag and are skipped.
func (g *Gateway) Objects(ctx context.Context, yield func(events.Object) error) error {
	return g.store.objects(ctx, yield)
}

func (s *store) objects(ctx context.Context, yield func(events.Object) error) error {
	if s.bucket == "" {
		return nil
	}
	// Only the folder part of the prefix is a path; visit compares the rest with each key.
	folder, _ := path.Split(s.prefix)
	return s.walk(ctx, s.bucket, s.prefix, path.Clean(folder), yield)
}

// entriesAtOnce is the number of directory entries that are read at a time.
const entriesAtOnce = 256

// walk yields the objects below a folder whose keys start with prefix. The folder "." is the whole bucket.
func (s *store) walk(ctx context.Context, bucket, prefix, folder string, yield func(events.Object) error) error {
	dir, err := s.files.Open(path.Join(bucket, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was removed together with its last object
	}
	if err != nil {
		return fmt.Errorf("listing %s: %w", folder, err)
	}
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(entriesAtOnce)
		if errors.Is(err, fs.ErrNotExist) {
			err = io.EOF // it was removed together with its last object
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("listing %s: %w", folder, err)
		}
		for _, entry := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.visit(ctx, bucket, prefix, path.Join(folder, entry.Name()), entry.Type(), yield); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

func (s *store) visit(
	ctx context.Context, bucket, prefix, key string, mode fs.FileMode, yield func(events.Object) error,
) error {
	switch {
	case key == posix.MetaTmpDir:
		return nil
	case checkKey(key) != nil: // stored by an earlier release; requests can't name it
		s.log.WarnContext(ctx, "file skipped: its name is not a valid key", slog.String("event", "file_skipped"),
			slog.String("bucket", bucket), slog.String("path", key))
		return nil //nolint:nilerr // logged
	case mode.IsDir():
		return s.walk(ctx, bucket, prefix, key, yield)
	case !mode.IsRegular() || !strings.HasPrefix(key, prefix):
		return nil
	}
	o, err := s.identify(bucket, key)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, meta.ErrNoSuchKey) {
		return nil
	}
	if err != nil {
		return err
	}
	return yield(o)
}

// identify returns the identity of a stored object.
func (s *store) identify(bucket, key string) (events.Object, error) {
	state, err := s.inspect(bucket, key)
	if err != nil {
		return events.Object{}, err
	}
	return newObject(bucket, key, state.etag, state.size, state.mtime), nil
}

// objectState describes one content of an object.
type objectState struct {
	etag  string // without quotes
	size  int64
	mtime time.Time
}

// inspect returns the state of an object. It reads from one open file, so that all of the state belongs to the same
// content even while the object is replaced.
func (s *store) inspect(bucket, key string) (objectState, error) {
	f, err := s.files.Open(path.Join(bucket, key))
	if err != nil {
		return objectState{}, fmt.Errorf("identifying %s: %w", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return objectState{}, fmt.Errorf("identifying %s: %w", key, err)
	}
	if !info.Mode().IsRegular() {
		return objectState{}, fmt.Errorf("identifying %s: %w", key, fs.ErrInvalid)
	}
	etag, err := s.meta.RetrieveAttribute(f, s.bucketDir(bucket), key, etagAttribute)
	if err != nil {
		return objectState{}, fmt.Errorf("reading the ETag of %s: %w", key, err)
	}
	return objectState{etag: strings.Trim(string(etag), `"`), size: info.Size(), mtime: info.ModTime()}, nil
}

// newObject is the only function that derives the identity of an object from its file.
func newObject(bucket, key, etag string, size int64, mtime time.Time) events.Object {
	return events.Object{
		Bucket: bucket, Key: key, ETag: strings.Trim(etag, `"`), Size: size,
		Sequencer: sequencer(mtime), Time: mtime.UTC().Truncate(time.Millisecond),
	}
}

// RebuildObject returns the announced object of an upload from what is recorded about it, or false if the record is not
// consistent.
func RebuildObject(bucket, key, etag string, size int64, origin events.Origin) (events.Object, bool) {
	o := events.Object{Bucket: bucket, Key: key, ETag: etag, Size: size, Time: origin.Time()}
	if _, rest, ok := strings.Cut(string(origin), "-"); ok && len(rest) > sequencerDigits {
		o.Sequencer = rest[:sequencerDigits] // zeros follow
	}
	return o, key != "" && o.UploadID() == origin.UploadID()
}

// newest returns the latest stamp of an announced object, for a clock that has lost its mark.
func (s *store) newest(ctx context.Context) (int64, error) {
	var newest int64
	err := s.objects(ctx, func(o events.Object) error {
		var ns int64
		if _, err := fmt.Sscanf(o.Sequencer, "%x", &ns); err != nil {
			return fmt.Errorf("reading the sequencer of %s: %w", o.Key, err)
		}
		newest = max(newest, ns)
		return nil
	})
	return newest, err
}
