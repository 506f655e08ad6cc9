// Package program builds and runs the real flavorless program, for tests and benchmarks.
package program

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

// Build compiles flavorless into a folder and returns the program's path.
func Build(ctx context.Context, folder string) (string, error) {
	program := filepath.Join(folder, "flavorless")
	return program, testutil.Build(ctx, program, nil, "./cmd/flavorless")
}

// Serve returns the command that runs `flavorless serve` on a data folder and on free ports. The caller has to start
// it.
func Serve(program, data string, args ...string) *exec.Cmd {
	return exec.Command(program, append([]string{ //nolint:gosec // see Build
		"serve", "--data", data, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0",
	}, args...)...)
}

// Info returns how to reach the process that serves a data folder, and reports whether that process is ready.
func Info(data string, pid int) (local.Info, bool) {
	info, err := local.ReadInfo(data)
	return info, err == nil && info.PID == pid
}

// Token returns a token for the API of the server of a data folder, valid for a day.
func Token(data string, info local.Info) (string, error) {
	keys, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(data)})
	if err != nil {
		return "", fmt.Errorf("opening the issuer: %w", err)
	}
	return keys.Sign(issuer.Grant{Subject: "test", Audience: info.Audience, TTL: 24 * time.Hour})
}

// S3 returns a client of the server's bucket. It never retries: a test has to find out itself what became of a
// request whose response was lost.
func S3(info local.Info) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(info.S3), Region: info.Region, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(info.AccessKey, info.SecretKey, ""),
		// Connections are closed before the server closes them, so that no request meets a closed one.
		HTTPClient: &http.Client{
			Timeout: time.Minute, Transport: &http.Transport{IdleConnTimeout: 5 * time.Second},
		},
	})
}
