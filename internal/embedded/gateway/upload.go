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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// upload is one object on its way from its staging file to its announcement.
type upload struct {
	store       *store
	bucket, key string
	tags        map[string]string // set with the staged file, so that they can't fail once it has its name
	unlock      func()            // set while the key is locked
	staged      bool              // stage has succeeded
	size        int64
	mtime       time.Time
}

// begin copies the names: the request's own lie in a buffer that the next request will overwrite, and what was announced
// is kept by others.
func (s *store) begin(bucket, key string) *upload {
	return &upload{store: s, bucket: strings.Clone(bucket), key: strings.Clone(key)}
}

// stage is called with the complete staged file, just before it is moved to its name. It locks the key, also if it fails.
func (u *upload) stage(f *os.File) error {
	var err error
	if u.store.sync { // else a crash of the machine could leave a name for bytes that never arrived
		err = f.Sync()
	}
	u.lock()
	if err != nil {
		return fmt.Errorf("syncing %s: %w", u.key, err)
	}
	if err := u.store.checkPlace(u.bucket, u.key); err != nil {
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
		err = u.prepare(f)
	}
	if err != nil {
		return err
	}
	u.staged, u.size, u.mtime = true, info.Size(), mtime
	return nil
}

// prepare makes the attributes of the object ready for those that versitygw stores after it, and stores the tags, which versitygw
// would store too late.
func (u *upload) prepare(f *os.File) error {
	if beside, ok := u.store.meta.(sidecar); ok {
		if err := beside.forget(u.store.at(u.bucket), u.key); err != nil {
			return err
		}
	}
	if u.tags == nil {
		return nil
	}
	tags, err := json.Marshal(u.tags)
	if err == nil {
		err = u.store.meta.StoreAttribute(f, u.store.at(u.bucket), u.key, tagsAttribute, tags)
	}
	if err != nil {
		return fmt.Errorf("setting the tags of %s: %w", u.key, err)
	}
	return nil
}

// lock keeps all others from writing the key, and keys that need its path, until release.
func (u *upload) lock() {
	if u.unlock == nil {
		u.unlock = u.store.keys.lockKey(u.bucket, u.key)
	}
}

// release lets the next writer of the key go on.
func (u *upload) release() {
	if u.unlock != nil {
		u.unlock()
		u.unlock = nil
	}
}

// published returns an error unless the object has its name. versitygw reports success, and drops the staged file, if there is a
// folder with that name.
func (u *upload) published() error {
	info, err := u.store.files.Stat(u.path())
	if err == nil && info.IsDir() {
		return s3err.GetAPIError(s3err.ErrExistingObjectIsDirectory)
	}
	if err != nil {
		return fmt.Errorf("looking for the stored object: %w", err)
	}
	return nil
}

// failed returns the answer to an upload that could not be published, and removes what it has left.
func (u *upload) failed(ctx context.Context, err error) error {
	u.lock()
	defer u.release()
	s := u.store
	if beside, ok := s.meta.(sidecar); ok && u.staged {
		if info, missing := s.files.Stat(u.path()); missing == nil && info.IsDir() { // not a marker: stage has looked
			_ = beside.DeleteAttributes(s.at(u.bucket), u.key) // else the folder would be taken for a marker
		}
	}
	err = s.inTheWay(u.bucket, u.key, err)
	s.prune(u.bucket, u.key)
	return s.fail(ctx, err)
}

// path is where the object is once it has its name, below the objects' folder.
func (u *upload) path() string { return path.Join(u.bucket, u.key) }

// settle makes the object outlive a crash of the machine, and announces it. The error is the answer to the uploader.
func (u *upload) settle(ctx context.Context, etag string) error {
	s := u.store
	o := object(u.bucket, u.key, strings.Clone(etag), u.size, u.mtime)
	if s.sync {
		if err := u.flush(); err != nil { // even a full disk is no reason to say that nothing was stored
			s.log.ErrorContext(ctx, "an object is stored but could not be synced to the disk", slog.String("upload", o.UploadID()),
				slog.String("bucket", o.Bucket), slog.String("key", o.Key), slog.Any("error", err))
			return unavailable("The object could not be written to the disk for certain. Please try again.")
		}
	}
	if !s.announces(u.bucket, u.key) {
		return nil
	}
	// Not the request's context: that one lives in a pool and ends with a graceful stop's beginning.
	if err := s.stored(s.life, o); err != nil {
		s.log.ErrorContext(ctx, "an object is stored but could not be announced", slog.String("upload", o.UploadID()),
			slog.String("bucket", o.Bucket), slog.String("key", o.Key), slog.Any("error", err))
		return unavailable("The object could not be handed on. Please try again.")
	}
	return nil
}

// flush writes the object's metadata, and the names that lead to it, to disk.
func (u *upload) flush() error {
	for p := u.path(); p != "."; p = path.Dir(p) {
		f, err := u.store.files.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("syncing %s: %w", u.key, err)
		}
		err = errors.Join(f.Sync(), f.Close())
		if err != nil {
			return fmt.Errorf("syncing %s: %w", u.key, err)
		}
	}
	return nil
}

// PutObject stores an object; form uploads come here as well.
func (s *store) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	in.Metadata = withHoisted(ctx, in.Metadata)
	return s.put(ctx, in)
}

// put stores an object.
func (s *store) put(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	length := in.ContentLength
	form := isForm(ctx)
	if form {
		length = nil // the form's, not the object's
		openForm(ctx)
		if strings.HasSuffix(aws.ToString(in.Key), "/") && isEmpty(in.Body) {
			in.ContentLength = new(int64)
		}
	}
	if err := s.admitObject(ctx, in, length); err != nil {
		drain(in.Body)
		return s3response.PutObjectOutput{}, err
	}
	u := s.begin(*in.Bucket, *in.Key)
	defer u.release()
	in.Body = s.body(u.bucket, in.Body, length, func(read int64) error {
		if err := checkSize(ctx, read); err != nil {
			return err
		}
		u.lock() // versitygw creates the folders of the key next
		return nil
	})
	if b, ok := in.Body.(*body); ok && form { // more than the form has room for, or its policy allows
		b.most, b.excess = aws.ToInt64(in.ContentLength), errMalformedForm
		if err := checkSize(ctx, b.most+1); err != nil {
			b.excess = err
		}
	}
	in.ContentEncoding = withoutChunks(in.ContentEncoding)
	ctx = context.WithoutCancel(ctx) // a graceful stop cancels requests first; one that is here is let through
	in.Bucket = s.in(in.Bucket)
	if strings.HasSuffix(u.key, "/") {
		return s.putFolder(ctx, u, in)
	}
	var err error
	if u.tags, err = backend.ParseObjectTags(aws.ToString(in.Tagging)); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	in.Tagging = nil
	out, err := s.posix.PutObjectWithPostFunc(ctx, in, u.stage)
	if err == nil {
		err = u.published()
	}
	if err != nil {
		return s3response.PutObjectOutput{}, u.failed(ctx, err)
	}
	u.release()
	if err := u.settle(ctx, out.ETag); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	return out, nil
}

// putFolder stores a folder marker. It has no time of its own, and is not announced.
func (s *store) putFolder(ctx context.Context, u *upload, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	u.lock()
	defer u.release()
	if err := s.checkPlace(u.bucket, u.key); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	before := s.isMarker(u.bucket, u.key)
	out, err := s.posix.PutObject(ctx, in)
	if err == nil {
		return out, nil
	}
	err = s.inTheWay(u.bucket, u.key, err)
	if !before { // what was stored of it before the error
		_, gone := s.posix.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: in.Key})
		if gone != nil {
			err = errors.Join(err, gone)
		}
	}
	return s3response.PutObjectOutput{}, s.fail(ctx, err)
}

// admitObject returns the answer to a request that may not store its object, or can't.
func (s *store) admitObject(ctx context.Context, in s3response.PutObjectInput, length *int64) error {
	if err := s.admitKey(ctx, in.Bucket, in.Key, writing); err != nil {
		return err
	}
	if err := checkForm(ctx); err != nil {
		return err
	}
	if err := descriptionOf(in).check(); err != nil {
		return err
	}
	if strings.HasSuffix(*in.Key, "/") && in.ContentLength != nil && *in.ContentLength != 0 {
		return errFolderData
	}
	if err := s.admitPlace(*in.Bucket, *in.Key); err != nil {
		return err
	}
	return s.fits(ctx, *in.Bucket, length)
}
