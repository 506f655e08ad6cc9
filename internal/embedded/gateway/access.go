package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// Credential is an access key and its secret.
type Credential struct{ AccessKey, SecretKey string }

// newCredential returns a random one.
func newCredential() Credential {
	return Credential{AccessKey: "INTERNAL" + rand.Text()[:12], SecretKey: rand.Text() + rand.Text()}
}

// accounts are the users beside versitygw's root user, which is the server itself: there is one, the uploader.
type accounts struct {
	auth.IAMService // refuses to change them

	uploader auth.Account
}

// newAccounts gives the uploader a role that may do what bucket ACLs allow. It may also call CreateBucket, so that the store
// can answer that the bucket exists.
func newAccounts(uploader Credential) accounts {
	a := auth.Account{Access: uploader.AccessKey, Secret: uploader.SecretKey, Role: auth.RoleUserPlus}
	return accounts{IAMService: auth.NewIAMServiceSingle(a), uploader: a}
}

// GetUserAccount returns [auth.ErrNoSuchUser] for other access keys, which versitygw answers with 403.
func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	if access == a.uploader.Access {
		return a.uploader, nil
	}
	return auth.Account{}, auth.ErrNoSuchUser
}

// serverKey marks contexts of work that the server does for itself.
type serverKey struct{}

// asServer returns a context in which the store does what is asked without a request's credential.
func asServer(ctx context.Context) context.Context { return context.WithValue(ctx, serverKey{}, true) }

// use is what a request does to a bucket.
type use bool

const (
	reading use = false
	writing use = true
)

// may returns AccessDenied unless the sender of the request may use the bucket in that way. Requests that carry no known
// account may do nothing.
func (s *store) may(ctx context.Context, bucket string, how use) error {
	if ctx.Value(serverKey{}) != nil {
		return nil
	}
	account, ok := ctx.Value(string(utils.ContextKeyAccount)).(auth.Account)
	if ok && account.Access != "" {
		known(ctx)
	}
	switch {
	case !ok || account.Access == "":
	case account.Access == s.server.AccessKey:
		return nil
	case account.Access == s.uploader.AccessKey && (how == reading || !slices.Contains(s.readOnly, bucket)):
		return nil
	}
	return s3err.GetAPIError(s3err.ErrAccessDenied)
}

// acl returns the access control list of a bucket, with which versitygw checks what [store.may] checks as well. It does not
// depend on what is stored on disk.
func (s *store) acl(bucket string) ([]byte, error) {
	permission := auth.PermissionFullControl
	if slices.Contains(s.readOnly, bucket) {
		permission = auth.PermissionRead
	}
	acl, err := json.Marshal(auth.ACL{Owner: s.uploader.AccessKey, Grantees: []auth.Grantee{
		{Permission: permission, Access: s.uploader.AccessKey, Type: types.TypeCanonicalUser},
	}})
	if err != nil {
		return nil, fmt.Errorf("writing the ACL of %s: %w", bucket, err)
	}
	return acl, nil
}

// admitBucket returns the answer to a request that may not use a bucket in that way, or names none.
func (s *store) admitBucket(ctx context.Context, bucket *string, how use) error {
	if bucket == nil {
		return s3err.GetBucketErr(s3err.ErrInvalidBucketName, "")
	}
	if err := checkBucket(*bucket); err != nil {
		return err
	}
	if err := s.may(ctx, *bucket, how); err != nil {
		return err
	}
	return s.inside(ctx, *bucket)
}

// admitKey is admitBucket for a request about an object.
func (s *store) admitKey(ctx context.Context, bucket, key *string, how use) error {
	if err := s.admitBucket(ctx, bucket, how); err != nil {
		return err
	}
	if key == nil {
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	if err := checkKey(*key); err != nil {
		return err
	}
	if how == writing { // by way of a staging file
		if err := s.inside(ctx, *bucket, posix.MetaTmpDir); err != nil {
			return err
		}
	}
	return s.inside(ctx, *bucket, *key)
}

// admitVersion is admitKey for a request that may name a version.
func (s *store) admitVersion(ctx context.Context, bucket, key, version *string, how use) error {
	if err := s.admitKey(ctx, bucket, key, how); err != nil {
		return err
	}
	return checkVersion(version)
}

// admitUpload is admitKey for a request about a multipart upload.
func (s *store) admitUpload(ctx context.Context, bucket, key, id *string, how use) error {
	if err := s.admitKey(ctx, bucket, key, how); err != nil {
		return err
	}
	if id == nil {
		return s3err.GetNoSuchUploadErr("")
	}
	if err := checkUploadID(*id); err != nil {
		return err
	}
	return s.inside(ctx, *bucket, partsFolder(*key), *id)
}

// admitList is admitBucket for a list. It reports whether any key can begin with the prefix.
func (s *store) admitList(ctx context.Context, bucket, prefix *string) (some bool, err error) {
	if err := s.admitBucket(ctx, bucket, reading); err != nil {
		return false, err
	}
	if prefix == nil {
		return true, nil
	}
	if err := checkTexts(map[string]*string{"prefix": prefix}); err != nil {
		return false, err
	}
	if !begins(*prefix) {
		return false, nil
	}
	folder, _, _ := cutLast(*prefix)
	return true, s.inside(ctx, *bucket, folder)
}

// partsFolder is where the uploads in parts of a key are, below their bucket.
func partsFolder(key string) string {
	return path.Join(posix.MetaTmpMultipartDir, fmt.Sprintf("%x", sha256.Sum256([]byte(key))))
}

// inside returns AccessDenied if the path leads out of the objects' folder, through a symbolic link for example. It is
// the second line of defense: the names were checked before. versitygw opens paths by their names, so a path is
// resolved in the [os.Root] here first.
func (s *store) inside(ctx context.Context, names ...string) error {
	name := path.Join(names...)
	_, err := s.files.Stat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
		return nil // the backend says what is missing
	}
	s.log.ErrorContext(ctx, "request refused: its path can't be resolved inside the data folder",
		slog.String("event", "path_refused"), slog.String("path", name), slog.Any("error", err))
	return s3err.GetAPIError(s3err.ErrAccessDenied)
}
