package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/versity/versitygw/backend/posix"
)

// inProgress ends the name of a multipart upload's directory while it is being completed.
const inProgress = ".inprogress"

// recover clears what a killed process left in the buckets' staging directories.
func (s *store) recover() error {
	buckets, err := os.ReadDir(s.root)
	if err != nil {
		return fmt.Errorf("gateway: reading %s: %w", s.root, err)
	}
	for _, bucket := range buckets {
		staging := filepath.Join(s.root, bucket.Name(), posix.MetaTmpDir)
		entries, err := os.ReadDir(staging)
		if errors.Is(err, fs.ErrNotExist) || !bucket.IsDir() {
			continue
		}
		if err != nil {
			return fmt.Errorf("gateway: reading %s: %w", staging, err)
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() {
				continue // multipart uploads under way live on, as on S3
			}
			if err := os.Remove(filepath.Join(staging, entry.Name())); err != nil {
				return fmt.Errorf("gateway: removing an unfinished upload: %w", err)
			}
		}
		if err := s.reopenUploads(bucket.Name()); err != nil {
			return err
		}
	}
	return nil
}

// reopenUploads gives multipart uploads back whose completion was cut off. versitygw takes their state for a completion
// that is under way in another request, and would answer the client's retry with 200 although nobody is at it.
func (s *store) reopenUploads(bucket string) error {
	below := filepath.Join(s.at(bucket), posix.MetaTmpMultipartDir)
	keys, err := os.ReadDir(below)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("gateway: reading %s: %w", below, err)
	}
	for _, key := range keys {
		uploads, err := os.ReadDir(filepath.Join(below, key.Name()))
		if err != nil {
			return fmt.Errorf("gateway: reading %s: %w", below, err)
		}
		for _, upload := range uploads {
			id, _, _ := strings.Cut(upload.Name(), ".") // <upload id>.<etag>.inprogress
			if !upload.IsDir() || !strings.HasSuffix(upload.Name(), inProgress) {
				continue
			}
			was := filepath.Join(posix.MetaTmpMultipartDir, key.Name(), upload.Name())
			is := filepath.Join(posix.MetaTmpMultipartDir, key.Name(), id)
			if err := os.Rename(filepath.Join(s.at(bucket), was), filepath.Join(s.at(bucket), is)); err != nil {
				return fmt.Errorf("gateway: reopening a multipart upload: %w", err)
			}
			if err := s.meta.RenameObject(s.at(bucket), was, is); err != nil {
				return fmt.Errorf("gateway: reopening a multipart upload: %w", err)
			}
		}
	}
	return nil
}
