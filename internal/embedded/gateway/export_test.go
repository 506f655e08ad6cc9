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

// Stamps opens a clock with the given file of its mark and newest object, and stamps the named file twice.
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

// ToS3Error returns the answer to an error.
func ToS3Error(err error) error {
	return (&store{log: slog.New(slog.DiscardHandler)}).toS3Error(context.Background(), err)
}

// CallStore calls methods of the store as requests with that context do, and returns their errors.
func CallStore(ctx context.Context, g *Gateway, bucket, key string) map[string]error {
	ctx, st := asServer(ctx), g.store
	// which versitygw calls before every operation
	_, access := st.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &bucket})
	_, get := st.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	most, none := int32(10), ""
	_, list := st.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &bucket, MaxKeys: &most, Prefix: &none, Delimiter: &none, ContinuationToken: &none, StartAfter: &none,
		FetchOwner: new(bool),
	})
	_, del := st.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return map[string]error{"access": access, "get": get, "list": list, "delete": del}
}

// Connections returns the number of open connections.
func Connections(g *Gateway) int {
	l := g.server.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// IdleConnections returns the number of open connections that have no request in flight.
func IdleConnections(g *Gateway) (n int) {
	l := g.server.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		if c.idleSince.Load() != 0 {
			n++
		}
	}
	return n
}

// AuthorizeWrite returns an error unless the store itself, without versitygw's ACLs, lets an account write.
func AuthorizeWrite(g *Gateway, access, bucket string) error {
	key := string(utils.ContextKeyAccount)
	ctx := context.WithValue(context.Background(), key, auth.Account{Access: access}) //nolint:staticcheck // not our key
	return g.store.authorize(ctx, bucket, writeAccess)
}
