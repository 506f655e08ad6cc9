package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/versity/versitygw/backend/posix"

	"github.com/flavorless/flavorless/internal/objectkey"
)

// inProgress ends the name of a multipart upload's directory while it is being completed.
const inProgress = ".inprogress"

// recover clears what a killed process left in the buckets' staging directories. Files there that nobody expects, which
// requests to earlier releases could leave, are skipped or moved: they must not keep the gateway from starting.
func (s *store) recover() error {
	buckets, err := s.buckets()
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	for _, bucket := range buckets {
		staging := path.Join(bucket.Name(), posix.MetaTmpDir)
		if info, err := s.files.Lstat(staging); err == nil && !info.IsDir() { // nothing could be stored in this bucket
			if err := s.setAside(context.Background(), staging); err != nil {
				return fmt.Errorf("gateway: %w", err)
			}
		}
		entries, err := s.read(staging)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() {
				continue // multipart uploads under way live on, as on S3
			}
			if err := s.files.Remove(path.Join(staging, entry.Name())); err != nil {
				return fmt.Errorf("gateway: removing an unfinished upload: %w", err)
			}
		}
		if err := s.reopenUploads(bucket.Name()); err != nil {
			return err
		}
	}
	return nil
}

// read returns what is in a directory below the objects' folder, and nothing if there is no such directory.
func (s *store) read(name string) ([]os.DirEntry, error) {
	dir, err := s.files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("gateway: reading %s: %w", name, err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("gateway: reading %s: %w", name, err)
	}
	return entries, nil
}

// reopenUploads gives multipart uploads back whose completion was cut off. versitygw takes their state for a completion
// that is under way in another request, and would answer the client's retry with 200 although nobody is at it.
func (s *store) reopenUploads(bucket string) error {
	if info, err := s.files.Lstat(path.Join(bucket, posix.MetaTmpMultipartDir)); err == nil && !info.IsDir() {
		return s.setAside(context.Background(), path.Join(bucket, posix.MetaTmpMultipartDir))
	}
	keys, err := s.read(path.Join(bucket, posix.MetaTmpMultipartDir))
	if err != nil {
		return err
	}
	for _, key := range keys {
		folder := path.Join(posix.MetaTmpMultipartDir, key.Name())
		if !key.IsDir() {
			s.log.Warn("unexpected file skipped", slog.String("event", "file_skipped"), slog.String("bucket", bucket), slog.String("path", folder))
			continue
		}
		uploads, err := s.read(path.Join(bucket, folder))
		if err != nil {
			return err
		}
		for _, upload := range uploads {
			id, _, _ := strings.Cut(upload.Name(), ".") // <upload id>.<etag>.inprogress
			if !upload.IsDir() || !strings.HasSuffix(upload.Name(), inProgress) || checkUploadID(id) != nil {
				continue
			}
			was, is := path.Join(folder, upload.Name()), path.Join(folder, id)
			if err := s.files.Rename(path.Join(bucket, was), path.Join(bucket, is)); err != nil {
				return fmt.Errorf("gateway: reopening a multipart upload: %w", err)
			}
			if err := s.meta.RenameObject(s.at(bucket), was, is); err != nil {
				return fmt.Errorf("gateway: reopening a multipart upload: %w", err)
			}
		}
	}
	return nil
}

// aside is the directory beside the buckets for files that can't stay where they are. No bucket has such a name.
const aside = ".set-aside"

// setAside moves a file or directory there, under a new name.
func (s *store) setAside(ctx context.Context, name string) error {
	to := path.Join(aside, strconv.FormatInt(time.Now().UnixNano(), 10))
	if err := s.files.MkdirAll(aside, 0o700); err != nil {
		return fmt.Errorf("making room for unexpected files: %w", err)
	}
	if err := s.files.Rename(name, to); err != nil {
		return fmt.Errorf("setting an unexpected file aside: %w", err)
	}
	s.log.WarnContext(ctx, "unexpected file set aside", slog.String("event", "file_set_aside"), slog.String("path", name), slog.String("to", to))
	return nil
}

// cleared sets aside what made a list fail, and reports whether the list should be tried again. The backend can't read directories whose names are
// not UTF-8, which earlier releases created, so one of them breaks every list of the bucket.
func (s *store) cleared(ctx context.Context, bucket string, err error) bool {
	if !errors.Is(err, fs.ErrInvalid) {
		return false
	}
	moved := false
	var search func(folder string) error
	search = func(folder string) error {
		entries, err := s.read(folder)
		for _, entry := range entries {
			name := path.Join(folder, entry.Name())
			switch {
			case !entry.IsDir() || name == path.Join(bucket, posix.MetaTmpDir):
			case objectkey.CheckText(entry.Name()) != nil:
				err = errors.Join(err, s.setAside(ctx, name))
				moved = true
			default:
				err = errors.Join(err, search(name))
			}
		}
		return err
	}
	if err := search(bucket); err != nil {
		s.log.ErrorContext(ctx, "unexpected files can't be set aside", slog.Any("error", err))
		return false
	}
	return moved
}
