package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// TestRegions checks that clients may sign for the gateway's region and for us-east-1, the default of most clients.
func TestRegions(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.Region = "eu-central-1" })
	for region, want := range map[string]int{"eu-central-1": 200, "us-east-1": 200, "eu-west-1": 400} {
		signer := client(srv.Addr(), uploader.SecretKey, func(o *s3.Options) { o.Region = region })
		key := "uploads/" + region + ".csv"
		_, err := signer.PutObject(t.Context(), &s3.PutObjectInput{Bucket: uploads, Key: &key, Body: strings.NewReader("x")})
		if want == 200 && err != nil || want != 200 && status(err) != want {
			t.Errorf("PutObject for %s: %v, want %d", region, err, want)
		}
		signed, err := s3.NewPresignClient(signer).PresignPutObject(t.Context(),
			&s3.PutObjectInput{Bucket: uploads, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		got := srv.sendSigned(t, "PUT", signed.URL, signed.SignedHeader, "yy")
		if got.status != want || want != 200 && !strings.Contains(got.body, "eu-central-1") {
			t.Errorf("presigned for %s: %s %s, want %d", region, got, got.body, want)
		}
	}
	_, err := client(srv.Addr(), "wrong").PutObject(t.Context(), &s3.PutObjectInput{Bucket: uploads,
		Key: aws.String("uploads/a.csv"), Body: strings.NewReader("x")})
	if status(err) != 403 {
		t.Errorf("a wrong secret: %v, want 403", err)
	}
	if got := len(srv.announced()); got != 2 {
		t.Errorf("%d objects announced, want 2", got)
	}
}

// TestFutureSignatures checks that a signature that is dated in the future is refused.
func TestFutureSignatures(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "drafts/a.csv", "x")
	for ahead, want := range map[time.Duration]int{0: 200, 10 * time.Minute: 200, 20 * time.Minute: 403,
		25 * time.Hour: 403} {
		signed, err := s3.NewPresignClient(srv.s3, func(o *s3.PresignOptions) { o.Presigner = at{time.Now().Add(ahead)} }).
			PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: uploads, Key: aws.String("drafts/a.csv")})
		if err != nil {
			t.Fatal(err)
		}
		if got := srv.sendSigned(t, "GET", signed.URL, signed.SignedHeader, ""); got.status != want {
			t.Errorf("a URL signed %s ahead: %s, want %d", ahead, got, want)
		}
		if want == 200 {
			want = 204
		}
		if got := srv.send(t, form(t, headers{"key": "drafts/b.csv"}, time.Now().Add(ahead), "x")); got.status != want {
			t.Errorf("a form signed %s ahead: %s, want %d", ahead, got, want)
		}
		got := srv.send(t, request{method: "GET", path: "/uploads/drafts/a.csv", at: time.Now().Add(ahead)})
		if (got.status == 200) != (want == 204) {
			t.Errorf("a header signed %s ahead: %s, want 200 up to 15 minutes", ahead, got)
		}
	}
}

// at presigns at a given time.
type at struct{ time time.Time }

func (a at) PresignHTTP(ctx context.Context, credential aws.Credentials, r *http.Request, hash, service,
	region string, _ time.Time, options ...func(*v4.SignerOptions)) (string, http.Header, error) {
	return v4.NewSigner().PresignHTTP(ctx, credential, r, hash, service, region, a.time, options...)
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, err := client(srv.Addr(), "wrong").PutObject(t.Context(), &s3.PutObjectInput{Bucket: uploads,
		Key: aws.String("uploads/a.csv"), Body: strings.NewReader("x")})
	if got := status(err); got != 403 {
		t.Errorf("wrong secret: status %d (%v), want 403", got, err)
	}
	srv.checkNothingAnnounced(t, 0)
}

// TestSignatureVersion2 checks that the answer names the version and the fix.
func TestSignatureVersion2(t *testing.T) {
	t.Parallel()
	srv := start(t)
	put := request{method: "PUT", path: "/uploads/uploads/a.csv", body: "x", unsigned: true}
	presigned, both, header := put, put, put
	presigned.query = "AWSAccessKeyId=local&Signature=NzEumlISnoUd2l0zVMCyOc8OeV4%3D&Expires=1795860069"
	both.query = "AWSAccessKeyId=local&Signature=x%3D&x-amz-meta-on-error=abort&Expires=1795860069"
	header.header = headers{"Authorization": "AWS local:NzEumlISnoUd2l0zVMCyOc8OeV4="}
	old := form(t, headers{"key": "uploads/a.csv"}, time.Now(), "x")
	old.body = strings.NewReplacer("x-amz-credential", "AWSAccessKeyId", "x-amz-signature", "signature",
		"x-amz-algorithm", "x-ignore-a", "x-amz-date", "x-ignore-b").
		Replace(old.body)
	for name, r := range map[string]request{
		"presigned": presigned, "presigned with metadata": both, "header": header, "form": old,
		"list": {method: "GET", path: "/uploads", header: header.header, unsigned: true},
	} {
		got := srv.send(t, r)
		if got.status != 400 || got.code != "InvalidRequest" || !strings.Contains(got.body, "AWS_DEFAULT_REGION") {
			t.Errorf("%s: %s %s, want 400 that names AWS_DEFAULT_REGION", name, got, got.body)
		}
	}
}
