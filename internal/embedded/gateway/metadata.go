package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/pkg/xattr"
	"github.com/versity/versitygw/backend/meta"
)

// These are names of attributes in which versitygw stores metadata of an object.
const (
	etagAttribute      = "etag"          // with its quotes
	tagsAttribute      = "X-Amz-Tagging" // a JSON object
	checksumsAttribute = "checksums"     // a JSON object; of a multipart upload, the declared algorithm
)

// attributes stores metadata in user attributes of the files.
type attributes struct {
	meta.XattrMeta

	checkSpace func(bucket string, bytes int64) error
}

// errMetadataTooLarge is the answer if a file system that is not full can't store that much metadata with a file. ext4
// stores about 4 KB.
var errMetadataTooLarge = newError(http.StatusBadRequest, "MetadataTooLarge",
	"The file system of the server can't store that much metadata with one object. "+
		"User metadata, headers and tags count together. Nothing was stored. Make them shorter.")

// StoreAttribute returns errMetadataTooLarge if the file system reports that it is full, although it is not.
func (a attributes) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	err := a.XattrMeta.StoreAttribute(f, bucket, object, attribute, value)
	if isDiskFull(err) && a.checkSpace(filepath.Base(bucket), 0) == nil {
		return errMetadataTooLarge
	}
	return err
}

// openMetadata returns where metadata is stored: in user attributes of the files if the file system has them, so that a
// file and its metadata are replaced in one step; otherwise in the directory "metadata". Once that directory exists, it
// is always used, because metadata is not moved.
func openMetadata(cfg Config, root string) (meta.MetadataStorer, error) {
	dir := filepath.Join(cfg.Dir, "metadata")
	if _, err := os.Stat(dir); err != nil {
		err := probeAttributes(root)
		if err == nil {
			return attributes{checkSpace: cfg.CheckSpace}, nil
		}
		cfg.Logger.Warn("the file system has no user attributes; metadata is stored in a directory",
			slog.String("dir", dir), slog.Any("error", err))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, fmt.Errorf("creating %s: %w", dir, err)
		}
	}
	inner, err := meta.NewSideCar(dir)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	return sidecar{inner: inner, root: root}, nil
}

// probeAttributes sets a user attribute. Some file systems only fail then.
func probeAttributes(dir string) error {
	f, err := os.CreateTemp(dir, ".attributes-*")
	if err != nil {
		return fmt.Errorf("testing user attributes: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := xattr.FSet(f, "user."+etagAttribute, []byte("1")); err != nil {
		return fmt.Errorf("testing user attributes: %w", err)
	}
	return nil
}

// sidecar stores metadata in a directory beside the objects. The backend gets absolute paths as bucket names (see
// store.bucketDir); sidecar makes them relative again, so that the gateway's directory can be moved.
type sidecar struct {
	inner meta.SideCar
	root  string
}

// sidecarName returns the path of a key in the sidecar's directory. versitygw stores the attributes of the key "a" in
// the folder "a/meta", which would also be the folder of the key "a/meta/x", and one could overwrite the other. So a
// segment "meta" of a key gets a tilde.
func sidecarName(key string) string {
	segments := strings.Split(key, "/")
	for i, segment := range segments {
		if strings.TrimRight(segment, "~") == "meta" {
			segments[i] += "~"
		}
	}
	return strings.Join(segments, "/")
}

func (s sidecar) rel(bucket string) string {
	return strings.TrimPrefix(bucket, s.root+string(filepath.Separator))
}

func (s sidecar) RetrieveAttribute(f *os.File, bucket, object, attribute string) ([]byte, error) {
	value, err := s.inner.RetrieveAttribute(f, s.rel(bucket), sidecarName(object), attribute)
	if errors.Is(err, meta.ErrNoSuchKey) && sidecarName(object) != object { // an earlier release may have stored it
		if old, oldErr := s.inner.RetrieveAttribute(f, s.rel(bucket), object, attribute); oldErr == nil {
			return old, nil
		}
	}
	return value, err
}

func (s sidecar) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	return s.inner.StoreAttribute(f, s.rel(bucket), sidecarName(object), attribute, value)
}

func (s sidecar) DeleteAttribute(bucket, object, attribute string) error {
	return s.inner.DeleteAttribute(s.rel(bucket), sidecarName(object), attribute)
}

func (s sidecar) ListAttributes(bucket, object string) ([]string, error) {
	return s.inner.ListAttributes(s.rel(bucket), sidecarName(object))
}

func (s sidecar) DeleteAttributes(bucket, object string) error {
	return s.inner.DeleteAttributes(s.rel(bucket), sidecarName(object))
}

func (s sidecar) RenameObject(bucket, oldObject, newObject string) error {
	return s.inner.RenameObject(s.rel(bucket), sidecarName(oldObject), sidecarName(newObject))
}

// clear removes all attributes of an object's old content except its ETag. versitygw only writes the attributes that
// the new content has, so the others would stay.
func (s sidecar) clear(bucket, object string) error {
	names := []string{sidecarName(object)}
	if names[0] != object {
		names = append(names, object) // where an earlier release stored them
	}
	for _, name := range names {
		attributes, err := s.inner.ListAttributes(s.rel(bucket), name)
		if err != nil && name != names[0] {
			continue // an attribute of another key has that name
		}
		if err != nil {
			return fmt.Errorf("listing the attributes of %s: %w", object, err)
		}
		for _, attribute := range attributes {
			if attribute == etagAttribute {
				continue
			}
			err := s.inner.DeleteAttribute(s.rel(bucket), name, attribute)
			if err != nil && !errors.Is(err, meta.ErrNoSuchKey) {
				return fmt.Errorf("removing an attribute of %s: %w", object, err)
			}
		}
	}
	return nil
}
