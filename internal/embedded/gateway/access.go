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

	"github.com/flavorless/flavorless/internal/objectkey"
)

// Credential is an access key and its secret.
type Credential struct{ AccessKey, SecretKey string }

// newCredential returns a random credential.
func newCredential() Credential {
	return Credential{AccessKey: "INTERNAL" + rand.Text()[:12], SecretKey: rand.Text() + rand.Text()}
}

// accounts are the accounts besides versitygw's root user. The server itself is the root user; the uploader is the only
// other account.
type accounts struct {
	auth.IAMService // refuses to change accounts

	uploader auth.Account
}

// newAccounts returns the uploader's account. Its role may do what bucket ACLs allow, and call CreateBucket, so that
// the store can answer that the bucket exists.
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

type serverKey struct{}

// asServer returns a context for work of the server itself, which needs no request's credential.
func asServer(ctx context.Context) context.Context { return context.WithValue(ctx, serverKey{}, true) }

// accessMode is how a request uses a bucket.
type accessMode bool

const (
	readAccess  accessMode = false
	writeAccess accessMode = true
)

// authorize returns AccessDenied unless the sender of a request may access the bucket in that mode. Requests without a
// known account have no access.
func (s *store) authorize(ctx context.Context, bucket string, mode accessMode) error {
	if ctx.Value(serverKey{}) != nil {
		return nil
	}
	account, ok := ctx.Value(string(utils.ContextKeyAccount)).(auth.Account)
	if ok && account.Access != "" {
		markAuthenticated(ctx)
	}
	switch {
	case !ok || account.Access == "":
	case account.Access == s.server.AccessKey:
		return nil
	case account.Access == s.uploader.AccessKey && (mode == readAccess || !slices.Contains(s.readOnly, bucket)):
		return nil
	}
	return s3err.GetAPIError(s3err.ErrAccessDenied)
}

// acl returns the access control list of a bucket. versitygw checks requests against it in addition to
// [store.authorize]. It does not depend on files on the disk.
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

// admitBucket returns an error, which is the answer to the client, unless the bucket's name is valid and the sender of
// the request may access the bucket in that mode.
func (s *store) admitBucket(ctx context.Context, bucket *string, mode accessMode) error {
	if bucket == nil {
		return s3err.GetBucketErr(s3err.ErrInvalidBucketName, "")
	}
	if err := checkBucket(*bucket); err != nil {
		return err
	}
	if err := s.authorize(ctx, *bucket, mode); err != nil {
		return err
	}
	return s.checkInside(ctx, *bucket)
}

// admitKey is admitBucket for a request about an object.
func (s *store) admitKey(ctx context.Context, bucket, key *string, mode accessMode) error {
	if err := s.admitBucket(ctx, bucket, mode); err != nil {
		return err
	}
	if key == nil {
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	if err := checkKey(*key); err != nil {
		return err
	}
	if mode == writeAccess { // through a staging file
		if err := s.checkInside(ctx, *bucket, posix.MetaTmpDir); err != nil {
			return err
		}
	}
	return s.checkInside(ctx, *bucket, *key)
}

// admitVersion is admitKey for a request that may name a version.
func (s *store) admitVersion(ctx context.Context, bucket, key, version *string, mode accessMode) error {
	if err := s.admitKey(ctx, bucket, key, mode); err != nil {
		return err
	}
	return checkVersion(version)
}

// admitUpload is admitKey for a request about a multipart upload.
func (s *store) admitUpload(ctx context.Context, bucket, key, id *string, mode accessMode) error {
	if err := s.admitKey(ctx, bucket, key, mode); err != nil {
		return err
	}
	if id == nil {
		return s3err.GetNoSuchUploadErr("")
	}
	if err := checkUploadID(*id); err != nil {
		return err
	}
	return s.checkInside(ctx, *bucket, partsFolder(*key), *id)
}

// admitList is admitBucket for a list. It returns false if no valid key starts with the prefix, so the list is empty.
func (s *store) admitList(ctx context.Context, bucket, prefix *string) (possible bool, err error) {
	if err := s.admitBucket(ctx, bucket, readAccess); err != nil {
		return false, err
	}
	if prefix == nil {
		return true, nil
	}
	if err := objectkey.CheckText(*prefix); err != nil {
		return false, invalidArgument("prefix", *prefix, "The prefix "+err.Error()+".")
	}
	if !canStartKey(*prefix) {
		return false, nil
	}
	folder, _ := folderOf(*prefix)
	return true, s.checkInside(ctx, *bucket, folder)
}

// partsFolder returns the folder of the multipart uploads of a key, below their bucket.
func partsFolder(key string) string {
	return path.Join(posix.MetaTmpMultipartDir, fmt.Sprintf("%x", sha256.Sum256([]byte(key))))
}

// checkInside returns AccessDenied if the path leads out of the objects' folder, for example through a symbolic link.
// It is the second line of defense, after the checks of names. versitygw opens files by path, so the path is resolved
// in the [os.Root] here first.
func (s *store) checkInside(ctx context.Context, names ...string) error {
	name := path.Join(names...)
	_, err := s.files.Stat(name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return nil // the backend reports missing files
	}
	s.log.ErrorContext(ctx, "request refused: its path leads out of the data folder",
		slog.String("event", "path_refused"), slog.String("path", name), slog.Any("error", err))
	return s3err.GetAPIError(s3err.ErrAccessDenied)
}
