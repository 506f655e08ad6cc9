package cloud

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Judges are the services that others wrote: what an adapter asks of them is held against somebody else's reading of
// Amazon's documentation.
type Judges struct {
	Moto     string // URL of S3, SNS, SQS and CloudFormation: https://docs.getmoto.org
	DynamoDB string // URL of DynamoDB Local with -sharedDb, or each access key would have tables of its own
}

// motoLimit is how long moto may take to start on a busy machine.
const motoLimit = 3 * time.Minute

// StartMoto lets moto choose its port, and waits until it says that it listens.
func StartMoto(ctx context.Context) (url string, stop func(), err error) {
	program, err := exec.LookPath("moto_server")
	if err != nil {
		return "", nil, fmt.Errorf("moto_server is missing (pip install 'moto[server]'): %w", err)
	}
	output, input := io.Pipe()
	stop, err = child(input, program, "-H", "127.0.0.1", "-p", "0")
	if err != nil {
		return "", nil, fmt.Errorf("starting moto: %w", err)
	}
	found := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(output); lines.Scan(); { // to the end, so that it never blocks
			if _, url, ok := strings.Cut(lines.Text(), "Running on "); ok {
				found <- strings.TrimSpace(url)
			}
		}
	}()
	select {
	case url := <-found:
		return url, stop, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(motoLimit):
		err = errors.New("moto does not come up")
	}
	stop()
	return "", nil, err
}

// child starts a program that dies with this one, and gives what ends it. It gets nothing of AWS's from the environment:
// AWS_CA_BUNDLE, say, breaks some programs that talk plain HTTP.
func child(output io.Writer, program string, args ...string) (stop func(), err error) {
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = Environ(), output, output
	prepare(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		kill(cmd.Process)
		_ = cmd.Wait() // it was killed, and says so
		if c, ok := output.(io.Closer); ok {
			_ = c.Close()
		}
	}, nil
}

// Environ is this process's environment without what configures programs for AWS.
func Environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") {
			env = append(env, v)
		}
	}
	return env
}
