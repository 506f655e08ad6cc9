package s3store_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/s3store"
	"github.com/flavorless/flavorless/test/conformance"
	"github.com/flavorless/flavorless/test/moto"
)

// TestObjectsConformance tests a bucket with versions, like the deployment's, and one without. The embedded gateway
// runs the same suite in its own package.
func TestObjectsConformance(t *testing.T) {
	client := s3store.NewClient(moto.Access(emulator.URL(t)))
	var names atomic.Int32
	bucket := func(t *testing.T, kind string) *string {
		name := fmt.Sprintf("%s-%d", kind, names.Add(1))
		if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
			t.Fatal(err)
		}
		return &name
	}
	for _, versioned := range []bool{true, false} {
		t.Run(fmt.Sprintf("versioned %v", versioned), func(t *testing.T) {
			conformance.TestObjects(t, func(t *testing.T) conformance.Objects {
				uploads, reports := bucket(t, "uploads"), s3store.Reports{Client: client, Bucket: *bucket(t, "reports")}
				if versioned {
					if _, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
						Bucket: uploads,
						VersioningConfiguration: &types.VersioningConfiguration{
							Status: types.BucketVersioningStatusEnabled,
						},
					}); err != nil {
						t.Fatal(err)
					}
				}
				return conformance.Objects{
					Open:      s3store.Objects{Client: client}.Open,
					PutReport: reports.Put, GetReport: reports.Get, RemoveReports: reports.Remove, Versioned: versioned,
					Put: func(t *testing.T, key, body string, metadata map[string]string) events.Object {
						t.Helper()
						out, err := client.PutObject(t.Context(), &s3.PutObjectInput{
							Bucket: uploads, Key: &key, Body: strings.NewReader(body), Metadata: metadata,
							ContentType: aws.String("text/csv; charset=windows-1252"),
						})
						if err != nil {
							t.Fatal(err)
						}
						return events.Object{
							Bucket: *uploads, Key: key, VersionID: aws.ToString(out.VersionId), ETag: strings.Trim(*out.ETag, `"`),
							Sequencer: "01", Time: time.Now(),
						}
					},
					Delete: func(t *testing.T, key string) {
						t.Helper()
						if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: uploads, Key: &key}); err != nil {
							t.Fatal(err)
						}
					},
				}
			})
		})
	}
}
