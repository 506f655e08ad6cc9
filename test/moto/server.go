// Package moto runs moto for tests, an emulator of S3, SNS, SQS and more. https://docs.getmoto.org
package moto

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/testutil"
)

// Server is one moto server for all tests of a test binary. The first call of [Server.URL] starts it; TestMain has to
// call [Server.Stop]. The zero value is ready to use.
type Server struct{ emulator testutil.Emulator }

// URL returns the server's URL. Without moto the test is skipped, or fails if [testutil.ToolsEnv] is set.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	return s.emulator.Endpoint(t, testutil.Launch{Name: "moto_server", Command: command, Ready: ready})
}

// Stop ends the server, if it runs.
func (s *Server) Stop() { s.emulator.Stop() }

// Access returns an access to all services at url, which is the server's own or that of a proxy in front of it.
func Access(url string) aws.Access {
	return aws.Access{Region: "us-east-1", KeyID: "test", Secret: "test", Endpoint: func(string) string { return url }}
}

func command() (*exec.Cmd, error) {
	program, err := exec.LookPath("moto_server")
	if err != nil {
		return nil, err
	}
	return exec.Command(program, "-H", "127.0.0.1", "-p", "0"), nil
}

// ready waits for the line with the URL, which moto prints once it listens.
func ready(ctx context.Context, lines <-chan string) (string, error) {
	for {
		select {
		case line := <-lines:
			if _, url, ok := strings.Cut(line, "Running on "); ok {
				return strings.TrimSpace(url), nil
			}
		case <-ctx.Done():
			return "", errors.New("it ended or did not print its URL")
		}
	}
}
