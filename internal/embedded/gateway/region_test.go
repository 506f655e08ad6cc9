package gateway_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// TestRegions: clients may sign for the gateway's region, and for the one that they sign for if nobody told them one.
func TestRegions(t *testing.T) {
	t.Parallel()
	e := start(t, func(c *gateway.Config) { c.Region = "eu-central-1" })
	for region, want := range map[string]int{"eu-central-1": 200, "us-east-1": 200, "eu-west-1": 400} {
		signer := client(e.Addr(), uploader.SecretKey, func(o *s3.Options) { o.Region = region })
		key := "uploads/" + region + ".csv"
		_, err := signer.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader("x")})
		if want == 200 && err != nil || want != 200 && status(err) != want {
			t.Errorf("PutObject for %s: %v, want %d", region, err, want)
		}
		signed, err := s3.NewPresignClient(signer).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		got := e.follow(t, "PUT", signed.URL, signed.SignedHeader, "yy")
		if got.status != want || want != 200 && !strings.Contains(got.body, "eu-central-1") {
			t.Errorf("presigned for %s: %s %s, want %d", region, got, got.body, want)
		}
	}
	_, err := client(e.Addr(), "wrong").PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/a.csv"), Body: strings.NewReader("x")})
	if status(err) != 403 {
		t.Errorf("a wrong secret: %v, want 403", err)
	}
	if got := len(e.announced()); got != 2 {
		t.Errorf("%d objects announced, want 2", got)
	}
}
