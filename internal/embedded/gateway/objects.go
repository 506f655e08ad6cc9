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

// batch is how many directory entries are held at a time.
const batch = 256

// Objects yields every object that is announced when stored, under the identity it was announced with, in no order. It
// may run while the gateway serves; it then yields some of what is stored meanwhile. Memory does not grow with the
// number of objects. An error of yield ends it and is returned as it is.
//
// Files that were put into the directory by other means than this gateway have no ETag and are left out.
func (g *Gateway) Objects(ctx context.Context, yield func(events.Object) error) error {
	return g.store.objects(ctx, yield)
}

func (s *store) objects(ctx context.Context, yield func(events.Object) error) error {
	if s.bucket == "" {
		return nil
	}
	// The directory part of the prefix is where to look; the rest is compared name by name.
	dir, _ := path.Split(s.prefix)
	return s.walk(ctx, s.bucket, s.prefix, path.Clean(dir), yield)
}

// walk yields the objects below a folder, which is "." for the whole bucket, whose keys begin with the prefix.
func (s *store) walk(ctx context.Context, bucket, prefix, folder string, yield func(events.Object) error) error {
	dir, err := s.files.Open(path.Join(bucket, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the last object in it was deleted
	}
	if err != nil {
		return fmt.Errorf("listing %s: %w", folder, err)
	}
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(batch)
		if errors.Is(err, fs.ErrNotExist) {
			err = io.EOF // the folder itself is gone, with the last object in it
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

func (s *store) visit(ctx context.Context, bucket, prefix, key string, mode fs.FileMode, yield func(events.Object) error) error {
	switch {
	case key == posix.MetaTmpDir:
		return nil
	case checkKey(key) != nil: // of an earlier release; no request can name it
		s.log.WarnContext(ctx, "file skipped: its name can't be a key", slog.String("event", "file_skipped"),
			slog.String("bucket", bucket), slog.String("path", key))
		return nil
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

// identify reads an object's identity from its file.
func (s *store) identify(bucket, key string) (events.Object, error) {
	st, err := s.look(bucket, key)
	if err != nil {
		return events.Object{}, err
	}
	return object(bucket, key, st.etag, st.size, st.mtime), nil
}

// state is what one stored content says about itself.
type state struct {
	etag  string // without quotes
	size  int64
	mtime time.Time
}

// look opens the file first, so that all of it is about one content even while it is being replaced.
func (s *store) look(bucket, key string) (state, error) {
	f, err := s.files.Open(path.Join(bucket, key))
	if err != nil {
		return state{}, fmt.Errorf("identifying %s: %w", key, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return state{}, fmt.Errorf("identifying %s: %w", key, err)
	}
	if !info.Mode().IsRegular() {
		return state{}, fmt.Errorf("identifying %s: %w", key, fs.ErrInvalid)
	}
	etag, err := s.meta.RetrieveAttribute(f, s.at(bucket), key, etagAttribute)
	if err != nil {
		return state{}, fmt.Errorf("reading the ETag of %s: %w", key, err)
	}
	return state{etag: strings.Trim(string(etag), `"`), size: info.Size(), mtime: info.ModTime()}, nil
}

// object is the one place that derives an identity.
func object(bucket, key, etag string, size int64, mtime time.Time) events.Object {
	return events.Object{
		Bucket: bucket, Key: key, ETag: strings.Trim(etag, `"`), Size: size,
		Sequencer: sequencer(mtime), Time: mtime.UTC().Truncate(time.Millisecond),
	}
}

// RebuildObject makes an announced object anew of what is known of its upload. It is false if that does not fit together.
func RebuildObject(bucket, key, etag string, size int64, origin events.Origin) (events.Object, bool) {
	o := events.Object{Bucket: bucket, Key: key, ETag: etag, Size: size, Time: origin.Time()}
	if _, rest, ok := strings.Cut(string(origin), "-"); ok && len(rest) > sequencerDigits {
		o.Sequencer = rest[:sequencerDigits] // what follows are zeros
	}
	return o, key != "" && o.UploadID() == origin.UploadID()
}

// newest finds the latest stamp among the announced objects, for a clock that has lost its mark.
func (s *store) newest() (int64, error) {
	var newest int64
	err := s.objects(s.life, func(o events.Object) error {
		var ns int64
		if _, err := fmt.Sscanf(o.Sequencer, "%x", &ns); err != nil {
			return fmt.Errorf("reading the sequencer of %s: %w", o.Key, err)
		}
		newest = max(newest, ns)
		return nil
	})
	return newest, err
}
