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

// A key is the path of a file here, which S3 does not know: an object "a" and an object "a/b" can't both exist, and a key
// that ends in a slash is a folder, which holds no data.

// errFolderData is the answer to data under a key that ends in a slash.
var errFolderData = s3err.APIError{
	Code: "DirectoryObjectContainsData", HTTPStatusCode: http.StatusBadRequest,
	Description: "A key that ends in a slash is a folder on this server, which can't hold data. " +
		"Use a key without a slash at its end.",
}

// errPlaceLost is the answer when the folder of a key was removed, with the last object in it, while the object was stored.
var errPlaceLost = unavailable("The folder of the key was removed meanwhile. Please try again.")

// conflict is the answer to a key that would need the path of another one.
func conflict(code, key, other string) error {
	return s3err.APIError{Code: code, HTTPStatusCode: http.StatusConflict, Description: fmt.Sprintf(
		"The key %q can't be stored beside %s: this server stores objects as files, "+
			"so that a name is either an object or a folder of objects. "+
			"Use another key, or delete the other object first.", key, other)}
}

// admitPlace returns a conflict if another object is in the way of the key. It removes an empty folder that a crash or a failed
// upload has left there.
func (s *store) admitPlace(bucket, key string) error {
	defer s.keys.lockKey(bucket, key)()
	if info, err := s.files.Stat(path.Join(bucket, key)); err == nil && info.IsDir() && !s.isMarker(bucket, key) {
		_ = s.files.Remove(path.Join(bucket, key)) // a folder that is not empty stays, and is found below
	}
	return s.checkPlace(bucket, key)
}

// checkPlace returns a conflict if another object, or a folder, is in the way of the key. The caller has locked the key, and
// the result holds for as long.
func (s *store) checkPlace(bucket, key string) error {
	name := strings.TrimSuffix(key, "/")
	info, err := s.files.Stat(path.Join(bucket, name))
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		for at := path.Dir(name); at != "."; at = path.Dir(at) {
			if info, err := s.files.Stat(path.Join(bucket, at)); err == nil && !info.IsDir() {
				return conflict("ObjectParentIsFile", key, fmt.Sprintf("the object %q", at))
			}
		}
	case err != nil: // there is nothing yet
	case info.IsDir() && name == key:
		return conflict("ExistingObjectIsDirectory", key, fmt.Sprintf("the folder %q", name+"/"))
	case !info.IsDir() && name != key:
		return conflict("ObjectParentIsFile", key, fmt.Sprintf("the object %q", name))
	}
	return nil
}

// isMarker reports whether a folder is an object of its own: it was stored under a key that ends in a slash.
func (s *store) isMarker(bucket, key string) bool {
	_, err := s.meta.RetrieveAttribute(nil, s.at(bucket), key, etagAttribute)
	return err == nil
}

// inTheWay returns the answer to a key whose path was needed for another one at the same time, and the error itself if that
// is not what it says. versitygw says so for every error of a folder. The caller has locked the key.
func (s *store) inTheWay(bucket, key string, err error) error {
	says := func(target error) bool { return errors.Is(err, target) }
	if !slices.ContainsFunc([]error{
		s3err.GetAPIError(s3err.ErrExistingObjectIsDirectory), s3err.GetAPIError(s3err.ErrObjectParentIsFile),
		syscall.ENOTDIR, syscall.EISDIR, fs.ErrExist, fs.ErrNotExist,
	}, says) {
		return err
	}
	if found := s.checkPlace(bucket, key); found != nil {
		return found
	}
	return errPlaceLost
}

// prune removes the folders of a key that hold nothing, which a failed upload has left. The caller has locked the key, so that
// none of the folders can become an object meanwhile.
func (s *store) prune(bucket, key string) {
	for at := path.Dir(strings.TrimSuffix(key, "/")); at != "." && !s.isMarker(bucket, at); at = path.Dir(at) {
		if s.files.Remove(path.Join(bucket, at)) != nil {
			return
		}
	}
}
