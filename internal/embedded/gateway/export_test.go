package gateway

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api/utils"
)

// Stamps opens a clock on a mark, with newest as the time of the newest object, and gives the named file two stamps.
func Stamps(mark, name string, now func() time.Time, newest int64) (first, second time.Time, err error) {
	c, err := openClock(mark, now, func() (int64, error) { return newest, nil })
	if err != nil {
		return first, second, err
	}
	files, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return first, second, err
	}
	defer files.Close()
	first, err = c.stamp(files, filepath.Base(name))
	if err == nil {
		second, err = c.stamp(files, filepath.Base(name))
	}
	return first, second, errors.Join(err, c.close())
}

// Answer is what a client is told of an error.
func Answer(err error) error {
	return (&store{log: slog.New(slog.DiscardHandler)}).toS3Error(context.Background(), err)
}

// Ask lets a gateway do what requests ask for whose context is ctx, and gives the errors that they are answered with.
func Ask(ctx context.Context, g *Gateway, bucket, key string) map[string]error {
	ctx, st := asServer(ctx), g.store
	_, access := st.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &bucket}) // which precedes everything
	_, get := st.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	most, none := int32(10), ""
	_, list := st.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &bucket, MaxKeys: &most, Prefix: &none, Delimiter: &none, ContinuationToken: &none, StartAfter: &none, FetchOwner: new(bool),
	})
	_, del := st.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return map[string]error{"access": access, "get": get, "list": list, "delete": del}
}

// Connections is how many are open.
func Connections(g *Gateway) int {
	l := g.server.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// MayWrite returns what the store, without versitygw's ACLs, answers to a request of an account.
func MayWrite(g *Gateway, access, bucket string) error {
	return g.store.authorize(context.WithValue(context.Background(), string(utils.ContextKeyAccount), auth.Account{Access: access}), bucket, writeAccess) //nolint:staticcheck // the key is versitygw's
}
