package gateway_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/s3store"
	"github.com/flavorless/flavorless/test/conformance"
)

// TestObjectsConformance runs the suite that the S3 adapter also passes on AWS.
func TestObjectsConformance(t *testing.T) {
	conformance.TestObjects(t, func(t *testing.T) conformance.Objects {
		srv := start(t)
		reports := s3store.Reports{Client: srv.s3, Bucket: "reports"}
		return conformance.Objects{
			Open: s3store.Objects{Client: srv.s3}.Open, PutReport: reports.Put, GetReport: reports.Get,
			RemoveReports: reports.Remove,
			Put: func(t *testing.T, key, body string, metadata map[string]string) events.Object {
				t.Helper()
				srv.putObject(t, &s3.PutObjectInput{
					Bucket: uploads, Key: &key, Body: strings.NewReader(body), Metadata: metadata,
					ContentType: aws.String("text/csv; charset=windows-1252"),
				})
				return srv.last(t, key)
			},
			Delete: func(t *testing.T, key string) {
				t.Helper()
				srv.delete(t, key)
			},
		}
	})
}
