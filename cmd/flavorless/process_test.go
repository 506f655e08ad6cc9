package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// process is `flavorless serve` in a process of its own.
type process struct {
	*exec.Cmd
	*connection
	t   *testing.T
	dir string
	log bytes.Buffer // standard error; complete once the process has ended
}

// startServe starts serve on a data folder and free ports, and returns once it is ready.
func startServe(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return startServeAfter(t, ":", dir, args...)
}

// startServeAfter is startServe from a shell that runs a command first.
func startServeAfter(t *testing.T, first, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir}
	p.Cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "sh",
		append([]string{"-c", first + `; exec "$0" "$@"`, os.Args[0],
			"serve", "--data", dir, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, args...)...)
	p.Env = append(os.Environ(), asProgram+"=1")
	p.Stderr = &p.log
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.kill(); t.Failed() {
			t.Logf("log of serve:\n%s", p.log.String())
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "flavorless is ready") {
			go io.Copy(io.Discard, out) //nolint:errcheck // keeps the process from blocking
			if p.connection, err = (clientFlags{data: dataDir{dir, true}}).connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	p.kill()
	t.Fatalf("serve did not become ready:\n%s", p.log.String())
	return nil
}

// kill ends the process immediately, as a crash does.
func (p *process) kill() {
	if p.ProcessState == nil {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

// stopped sends SIGTERM to the process, and returns its exit code.
func (p *process) stopped() int {
	p.t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	var failed *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &failed) {
		p.t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func (p *process) put(key, text string) {
	p.t.Helper()
	if err := p.tryPut(key, text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) tryPut(key, text string) error {
	_, err := p.s3().PutObject(p.t.Context(), &s3.PutObjectInput{Bucket: aws.String(p.info.Bucket), Key: aws.String(key),
		Body: strings.NewReader(text)})
	return err
}

// settled waits until the newest upload of a key has its end, and makes sure that its rows add up.
func (p *process) settled(key string) (settled events.Upload) {
	p.t.Helper()
	testutil.WaitFor(p.t, key+" is settled", func() bool {
		uploads, err := p.recent(p.t.Context(), 500)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, u := range uploads {
			if u.Key == key {
				settled = u
				return u.Status.Settled()
			}
		}
		return false
	})
	if c := settled.Counts; c.Outcomes() != c.Rows {
		p.t.Fatalf("counts of %s = %+v, want the outcomes to add up to rows", key, c)
	}
	return settled
}

func (p *process) team() map[string]string {
	p.t.Helper()
	team := map[string]string{}
	if _, err := p.get(p.t.Context(), "/team", &team); err != nil {
		p.t.Fatal(err)
	}
	return team
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
