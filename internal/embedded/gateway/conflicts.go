package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/versity/versitygw/s3err"
)

// Here a key is the path of a file, unlike on S3. So an object "a" and an object "a/b" can't both exist, and a key that
// ends in a slash is a folder, which holds no data.

// errFolderData is the answer to data under a key that ends in a slash.
var errFolderData = newError(http.StatusBadRequest, "DirectoryObjectContainsData",
	"A key that ends in a slash is a folder on this server, and a folder can't contain data. "+
		"Use a key that does not end in a slash.")

// errFolderRemoved is the answer if the folder of a key was removed, with the last object in it, while an object was
// stored there.
var errFolderRemoved = unavailable("Another request removed the folder of the key. Please try again.")

// newConflict returns the answer to a key that needs the path of another key.
func newConflict(code, key, other string) error {
	return newError(http.StatusConflict, code, fmt.Sprintf("The key %q can't be stored because %s exists. "+
		"This server stores objects as files, so a name is either an object or a folder of objects. "+
		"Use another key, or delete the other object first.", key, other))
}

// admitPath returns a conflict if another object occupies the path of the key. It removes an empty folder that a crash
// or a failed upload has left there.
func (s *store) admitPath(bucket, key string) error {
	defer s.keys.lockKey(bucket, key)()
	if info, err := s.files.Stat(path.Join(bucket, key)); err == nil && info.IsDir() && !s.isMarker(bucket, key) {
		_ = s.files.Remove(path.Join(bucket, key)) // fails if the folder is not empty; findConflict finds it
	}
	return s.findConflict(bucket, key)
}

// findConflict returns a conflict if another object, or a folder, occupies the path of the key. The caller has locked
// the key, and the result is valid while it is locked.
func (s *store) findConflict(bucket, key string) error {
	name := strings.TrimSuffix(key, "/")
	info, err := s.files.Stat(path.Join(bucket, name))
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		for at := path.Dir(name); at != "."; at = path.Dir(at) {
			if info, err := s.files.Stat(path.Join(bucket, at)); err == nil && !info.IsDir() {
				return newConflict("ObjectParentIsFile", key, fmt.Sprintf("the object %q", at))
			}
		}
	case err != nil:
		return nil //nolint:nilerr // the path is free
	case info.IsDir() && name == key:
		return newConflict("ExistingObjectIsDirectory", key, fmt.Sprintf("the folder %q", name+"/"))
	case !info.IsDir() && name != key:
		return newConflict("ObjectParentIsFile", key, fmt.Sprintf("the object %q", name))
	}
	return nil
}

// isMarker reports whether a folder is an object itself, stored under a key that ends in a slash.
func (s *store) isMarker(bucket, key string) bool {
	_, err := s.meta.RetrieveAttribute(nil, s.bucketDir(bucket), key, etagAttribute)
	return err == nil
}

// asConflict converts an error of versitygw about a path to a conflict, if another request used the path of the key at
// the same time, and returns other errors unchanged. versitygw reports every error about a folder as such a conflict.
// The caller has locked the key.
func (s *store) asConflict(bucket, key string, err error) error {
	if !slices.ContainsFunc([]error{
		s3err.GetAPIError(s3err.ErrExistingObjectIsDirectory), s3err.GetAPIError(s3err.ErrObjectParentIsFile),
		syscall.ENOTDIR, syscall.EISDIR, fs.ErrExist, fs.ErrNotExist,
	}, func(target error) bool { return errors.Is(err, target) }) {
		return err
	}
	if conflict := s.findConflict(bucket, key); conflict != nil {
		return conflict
	}
	return errFolderRemoved
}

// prune removes empty folders of a key, which a failed upload has left. The caller has locked the key, so none of the
// folders can become an object.
func (s *store) prune(bucket, key string) {
	for at := path.Dir(strings.TrimSuffix(key, "/")); at != "." && !s.isMarker(bucket, at); at = path.Dir(at) {
		if s.files.Remove(path.Join(bucket, at)) != nil {
			return
		}
	}
}
