package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/versity/versitygw/s3err"
)

// upload is an object from its staged file to its announcement.
type upload struct {
	store       *store
	bucket, key string
	tags        map[string]string // stored with the staged file, so that they can't fail once the object has its name
	unlock      func()            // nil unless the key is locked
	staged      bool              // stage has succeeded
	size        int64             // bytes
	mtime       time.Time
}

// newUpload copies the names. Those of the request are in a buffer that the next request overwrites, and the receivers
// of the announcement keep them.
func (s *store) newUpload(bucket, key string) *upload {
	return &upload{store: s, bucket: strings.Clone(bucket), key: strings.Clone(key)}
}

// stage prepares the complete staged file, just before it is moved to its name. It locks the key, even if it fails.
func (u *upload) stage(f *os.File) error {
	var err error
	if u.store.sync { // otherwise a crash of the machine could leave a name whose bytes never reached the disk
		err = f.Sync()
	}
	u.lock()
	if err != nil {
		return fmt.Errorf("syncing %s: %w", u.key, err)
	}
	if err := u.store.findConflict(u.bucket, u.key); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("staging %s: %w", u.key, err)
	}
	staged, err := filepath.Rel(u.store.root, f.Name())
	if err != nil {
		return fmt.Errorf("staging %s: %w", u.key, err)
	}
	mtime, err := u.store.clock.stamp(u.store.files, staged)
	if err == nil {
		err = u.prepareAttributes(f)
	}
	if err != nil {
		return err
	}
	u.staged, u.size, u.mtime = true, info.Size(), mtime
	return nil
}

// prepareAttributes removes attributes of the object's old content, and stores the tags, which versitygw would store
// only after the object has its name. versitygw stores the other attributes.
func (u *upload) prepareAttributes(f *os.File) error {
	if side, ok := u.store.meta.(sidecar); ok {
		if err := side.clear(u.store.bucketDir(u.bucket), u.key); err != nil {
			return err
		}
	}
	if u.tags == nil {
		return nil
	}
	tags, err := json.Marshal(u.tags)
	if err == nil {
		err = u.store.meta.StoreAttribute(f, u.store.bucketDir(u.bucket), u.key, tagsAttribute, tags)
	}
	if err != nil {
		return fmt.Errorf("setting the tags of %s: %w", u.key, err)
	}
	return nil
}

// lock locks the key until release, so that no other request can write it or a key that needs its path.
func (u *upload) lock() {
	if u.unlock == nil {
		u.unlock = u.store.keys.lockKey(u.bucket, u.key)
	}
}

// release unlocks the key, if it is locked.
func (u *upload) release() {
	if u.unlock != nil {
		u.unlock()
		u.unlock = nil
	}
}

// checkNamed returns an error unless the object has its name. versitygw drops the staged file and reports success
// if a folder has that name.
func (u *upload) checkNamed() error {
	info, err := u.store.files.Stat(u.path())
	if err == nil && info.IsDir() {
		return s3err.GetAPIError(s3err.ErrExistingObjectIsDirectory)
	}
	if err != nil {
		return fmt.Errorf("finding the stored object: %w", err)
	}
	return nil
}

// locate sets the identity from the disk, for a completion that did not stage a file. Usually that is a repeated
// completion. If this completion assembled the object without calling stage, locate stamps the object in place.
func (u *upload) locate(id string, assembled bool) error {
	u.lock()
	if assembled {
		if _, err := u.store.clock.stamp(u.store.files, u.path()); err != nil {
			return err
		}
	}
	info, err := u.store.files.Stat(u.path())
	if err != nil {
		return fmt.Errorf("finding the completed object: %w", err)
	}
	if info.IsDir() { // the object was deleted, and others were stored below its path
		return s3err.GetNoSuchUploadErr(id)
	}
	u.size, u.mtime = info.Size(), info.ModTime()
	return nil
}

// cleanUp removes what a failed upload has left, and returns the answer to the client.
func (u *upload) cleanUp(ctx context.Context, err error) error {
	u.lock()
	defer u.release()
	s := u.store
	if side, ok := s.meta.(sidecar); ok && u.staged {
		// A folder here is not a marker, because stage found no conflict. With the attributes it would look like one.
		if info, missing := s.files.Stat(u.path()); missing == nil && info.IsDir() {
			_ = side.DeleteAttributes(s.bucketDir(u.bucket), u.key)
		}
	}
	err = s.asConflict(u.bucket, u.key, err)
	s.prune(u.bucket, u.key)
	return s.toS3Error(ctx, err)
}

// path returns the path of the object in the objects' folder.
func (u *upload) path() string { return path.Join(u.bucket, u.key) }

// announce makes the object survive a crash of the machine, and calls OnStored. The error is the answer to the client.
func (u *upload) announce(ctx context.Context, etag string) error {
	s := u.store
	o := newObject(u.bucket, u.key, strings.Clone(etag), u.size, u.mtime)
	log := s.log.With(slog.String("upload", o.UploadID()), slog.String("bucket", o.Bucket), slog.String("key", o.Key))
	if s.sync {
		if err := u.syncNames(); err != nil { // not a full-disk error, which would say that nothing was stored
			log.ErrorContext(ctx, "object stored but not synced to the disk", slog.Any("error", err))
			return unavailable("The server could not make sure that the object is on the disk. Please try again.")
		}
	}
	if !s.isAnnounced(u.bucket, u.key) {
		return nil
	}
	if err := s.onStored(o); err != nil {
		log.ErrorContext(ctx, "object stored but not announced", slog.Any("error", err))
		return unavailable("The server stored the object but could not start to process it. Please try again.")
	}
	return nil
}

// syncNames writes the object's metadata, and the folders that contain it, to the disk.
func (u *upload) syncNames() error {
	for p := u.path(); p != "."; p = path.Dir(p) {
		f, err := u.store.files.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // just deleted
		}
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return fmt.Errorf("syncing %s: %w", u.key, err)
		}
	}
	return nil
}
