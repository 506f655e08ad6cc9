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

// inProgress is the suffix of a multipart upload's directory while the upload is completed.
const inProgress = ".inprogress"

// recover removes what a killed process left in the staging directories of the buckets. Unexpected files, which
// requests to earlier releases could create, are skipped or moved, because they must not keep the gateway from
// starting.
func (s *store) recover() error {
	buckets, err := s.buckets()
	if err != nil {
		return err
	}
	for _, bucket := range buckets {
		staging := path.Join(bucket.Name(), posix.MetaTmpDir)
		if err := s.setAsideFile(staging); err != nil { // a file in its place would make all uploads fail
			return err
		}
		entries, err := s.readDir(staging)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() {
				continue // multipart uploads survive a restart, as on S3
			}
			if err := s.files.Remove(path.Join(staging, entry.Name())); err != nil {
				return fmt.Errorf("removing an unfinished upload: %w", err)
			}
		}
		if err := s.reopenUploads(bucket.Name()); err != nil {
			return err
		}
	}
	return nil
}

// readDir returns the entries of a directory in the objects' folder, or none if it does not exist.
func (s *store) readDir(name string) ([]os.DirEntry, error) {
	dir, err := s.files.Open(name) // not through an fs.FS, which accepts only names in UTF-8
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return entries, nil
}

// reopenUploads reverts interrupted completions of multipart uploads. versitygw treats their directories as completions
// in progress, and would answer the client's retry with 200 although no request completes the upload.
func (s *store) reopenUploads(bucket string) error {
	if err := s.setAsideFile(path.Join(bucket, posix.MetaTmpMultipartDir)); err != nil {
		return err
	}
	keys, err := s.readDir(path.Join(bucket, posix.MetaTmpMultipartDir))
	if err != nil {
		return err
	}
	for _, key := range keys {
		folder := path.Join(posix.MetaTmpMultipartDir, key.Name())
		if !key.IsDir() {
			s.log.Warn("unexpected file skipped",
				slog.String("event", "file_skipped"), slog.String("bucket", bucket), slog.String("path", folder))
			continue
		}
		uploads, err := s.readDir(path.Join(bucket, folder))
		if err != nil {
			return err
		}
		for _, upload := range uploads {
			id, _, _ := strings.Cut(upload.Name(), ".") // <upload id>.<etag>.inprogress
			if !upload.IsDir() || !strings.HasSuffix(upload.Name(), inProgress) || checkUploadID(id) != nil {
				continue
			}
			from, to := path.Join(folder, upload.Name()), path.Join(folder, id)
			if err := s.files.Rename(path.Join(bucket, from), path.Join(bucket, to)); err != nil {
				return fmt.Errorf("reopening a multipart upload: %w", err)
			}
			if err := s.meta.RenameObject(s.bucketDir(bucket), from, to); err != nil {
				return fmt.Errorf("reopening a multipart upload: %w", err)
			}
		}
	}
	return nil
}

// setAsideDir is the directory beside the buckets for files that can't stay where they are. It is not a valid bucket
// name.
const setAsideDir = ".set-aside"

// setAside moves a file or directory to setAsideDir, under a new name.
func (s *store) setAside(ctx context.Context, name string) error {
	to := path.Join(setAsideDir, strconv.FormatInt(time.Now().UnixNano(), 10))
	if err := s.files.MkdirAll(setAsideDir, 0o700); err != nil {
		return fmt.Errorf("creating the directory for unexpected files: %w", err)
	}
	if err := s.files.Rename(name, to); err != nil {
		return fmt.Errorf("setting an unexpected file aside: %w", err)
	}
	s.log.WarnContext(ctx, "unexpected file set aside",
		slog.String("event", "file_set_aside"), slog.String("path", name), slog.String("to", to))
	return nil
}

// setAsideFile sets aside a file that is in the place of a directory.
func (s *store) setAsideFile(name string) error {
	if info, err := s.files.Lstat(name); err != nil || info.IsDir() {
		return nil //nolint:nilerr // readDir reports errors
	}
	return s.setAside(context.Background(), name)
}

// setAsideUnreadable sets aside the directories that made a list fail, and reports whether the list should be repeated.
// The backend can't read directories whose names are not UTF-8. Earlier releases created them, and a single one makes
// every list of the bucket fail.
func (s *store) setAsideUnreadable(ctx context.Context, bucket string, err error) bool {
	if !errors.Is(err, fs.ErrInvalid) {
		return false
	}
	moved := false
	var search func(folder string) error
	search = func(folder string) error {
		entries, err := s.readDir(folder)
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
		s.log.ErrorContext(ctx, "setting unexpected files aside failed", slog.Any("error", err))
		return false
	}
	return moved
}
