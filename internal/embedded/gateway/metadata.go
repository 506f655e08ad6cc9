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
	"github.com/versity/versitygw/s3err"
)

// etagAttribute is under which name versitygw keeps an object's ETag, with its quotes.
const etagAttribute = "etag"

// tagsAttribute is under which name versitygw keeps an object's tags, as a JSON object.
const tagsAttribute = "X-Amz-Tagging"

// checksumsAttribute is under which name versitygw keeps the checksums of an object, and the declared algorithm of an upload
// in parts, as a JSON object.
const checksumsAttribute = "checksums"

// attributes keeps metadata in user attributes of the files.
type attributes struct {
	meta.XattrMeta

	room func(bucket string, bytes int64) error
}

// errAttributes is the answer when a file system that is not full can't keep so much metadata with one file. ext4 keeps about
// 4 KB.
var errAttributes = s3err.APIError{
	Code: "MetadataTooLarge", HTTPStatusCode: http.StatusBadRequest,
	Description: "The file system of the server can't keep so much metadata with one object: metadata, headers and tags together. " +
		"Nothing was stored. Make them shorter.",
}

// StoreAttribute returns errAttributes where the file system says that there is no space, but there is.
func (a attributes) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	err := a.XattrMeta.StoreAttribute(f, bucket, object, attribute, value)
	if isFull(err) && a.room(filepath.Base(bucket), 0) == nil {
		return errAttributes
	}
	return err
}

// openMetadata chooses where metadata is kept: with the files themselves if their file system has user attributes (then
// a file and its metadata replace one another in one step), else in a directory beside them. A choice made once stays,
// for the objects' metadata would not move.
func openMetadata(cfg Config, root string) (meta.MetadataStorer, error) {
	aside := filepath.Join(cfg.Dir, "metadata")
	if _, err := os.Stat(aside); err != nil {
		err := tryAttributes(root)
		if err == nil {
			return attributes{room: cfg.CheckSpace}, nil
		}
		cfg.Logger.Warn("the file system has no user attributes, metadata is kept beside the objects",
			slog.String("dir", aside), slog.Any("error", err))
		if err := os.Mkdir(aside, 0o700); err != nil {
			return nil, fmt.Errorf("gateway: creating %s: %w", aside, err)
		}
	}
	inner, err := meta.NewSideCar(aside)
	if err != nil {
		return nil, fmt.Errorf("gateway: opening %s: %w", aside, err)
	}
	return sidecar{inner: inner, root: root}, nil
}

// tryAttributes sets one, for some file systems only tell then that they can't.
func tryAttributes(dir string) error {
	f, err := os.CreateTemp(dir, ".attributes-*")
	if err != nil {
		return fmt.Errorf("trying user attributes: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := xattr.FSet(f, "user."+etagAttribute, []byte("1")); err != nil {
		return fmt.Errorf("trying user attributes: %w", err)
	}
	return nil
}

// sidecar keeps metadata in a directory beside the objects. It makes the absolute bucket paths that the backend is given
// (see store.at) relative again, so that the directory as a whole can be moved.
type sidecar struct {
	inner meta.SideCar
	root  string
}

// besideName is a key's path in that directory. versitygw keeps what belongs to the key "a" in the folder "a/meta", which
// is also where what belongs to the key "a/meta/x" would be: one of them would overwrite or remove the other. So a segment
// "meta" of a key gets a tilde.
func besideName(key string) string {
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
	value, err := s.inner.RetrieveAttribute(f, s.rel(bucket), besideName(object), attribute)
	if errors.Is(err, meta.ErrNoSuchKey) && besideName(object) != object { // it may be of an earlier release
		if old, older := s.inner.RetrieveAttribute(f, s.rel(bucket), object, attribute); older == nil {
			return old, nil
		}
	}
	return value, err
}

func (s sidecar) StoreAttribute(f *os.File, bucket, object, attribute string, value []byte) error {
	return s.inner.StoreAttribute(f, s.rel(bucket), besideName(object), attribute, value)
}

func (s sidecar) DeleteAttribute(bucket, object, attribute string) error {
	return s.inner.DeleteAttribute(s.rel(bucket), besideName(object), attribute)
}

func (s sidecar) ListAttributes(bucket, object string) ([]string, error) {
	return s.inner.ListAttributes(s.rel(bucket), besideName(object))
}

func (s sidecar) DeleteAttributes(bucket, object string) error {
	return s.inner.DeleteAttributes(s.rel(bucket), besideName(object))
}

func (s sidecar) RenameObject(bucket, oldObject, newObject string) error {
	return s.inner.RenameObject(s.rel(bucket), besideName(oldObject), besideName(newObject))
}

// forget removes what an earlier content of an object has besides its ETag: metadata, tags and the like. versitygw writes only
// what the new content has, so that it would keep the rest of the old one's.
func (s sidecar) forget(bucket, object string) error {
	names := []string{besideName(object)}
	if names[0] != object {
		names = append(names, object) // where an earlier release kept it
	}
	for _, name := range names {
		attributes, err := s.inner.ListAttributes(s.rel(bucket), name)
		if err != nil && name != names[0] {
			continue // another key's attribute has that name
		}
		if err != nil {
			return fmt.Errorf("listing the attributes of %s: %w", object, err)
		}
		for _, attribute := range attributes {
			if attribute == etagAttribute {
				continue
			}
			if err := s.inner.DeleteAttribute(s.rel(bucket), name, attribute); err != nil && !errors.Is(err, meta.ErrNoSuchKey) {
				return fmt.Errorf("removing an attribute of %s: %w", object, err)
			}
		}
	}
	return nil
}
