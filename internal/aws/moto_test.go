package aws_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/aws"
)

// moto starts a judge that speaks the protocols of Amazon's services (https://docs.getmoto.org), for as long as the test
// runs, and returns how to reach it. Without it the test is left out, unless FLAVORLESS_TEST_CLOUD says that all tools are
// there.
func moto(t *testing.T) aws.Access {
	t.Helper()
	program, err := exec.LookPath("moto_server")
	if err != nil {
		if os.Getenv("FLAVORLESS_TEST_CLOUD") != "" {
			t.Fatal("moto_server is not here, although FLAVORLESS_TEST_CLOUD is set")
		}
		t.Skip("moto_server is not here: pip install 'moto[server]', or make test")
	}
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, program, "-H", "127.0.0.1", "-p", "0")
	server.WaitDelay = time.Second
	output, err := server.StderrPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatalf("starting moto_server: %v", err)
	}
	t.Cleanup(func() {
		stop()
		_ = server.Wait() // killed
	})
	found := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(output); lines.Scan(); { // to the end, so that it never blocks
			if _, url, ok := strings.Cut(lines.Text(), "Running on "); ok {
				found <- strings.TrimSpace(url)
			}
		}
	}()
	select {
	case url := <-found: // printed once it listens
		return aws.Access{Region: "us-east-1", KeyID: "test", Secret: "test", Endpoint: func(string) string { return url }}
	case <-time.After(time.Minute):
		t.Fatal("moto_server does not come up")
	}
	return aws.Access{}
}
