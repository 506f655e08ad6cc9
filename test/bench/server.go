package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil/program"
)

// server is `flavorless serve` as users run it: the real program, in a process of its own.
type server struct {
	cmd    *exec.Cmd
	info   local.Info
	bearer string // the value of an Authorization header
	log    bytes.Buffer
}

// startServer builds the program and starts it on a new data folder below dir.
func startServer(ctx context.Context, dir string) (_ *server, err error) {
	path, err := program.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	s := &server{cmd: program.Serve(path, data)}
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	ready := false
	for deadline := time.Now().Add(time.Minute); !ready; time.Sleep(20 * time.Millisecond) {
		if s.info, ready = program.Info(data, s.cmd.Process.Pid); !ready && time.Now().After(deadline) {
			return nil, errors.New("the server did not become ready within a minute")
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	token, err := program.Token(data, s.info)
	s.bearer = "Bearer " + token
	return s, err
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("flavorless serve: %w; the end of its log:\n%s", err, tail(s.log.String(), 20))
	}
	return nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// upload uploads a file in parts, as command lines do, and waits until it is live or failed. Key must be new.
func (s *server) upload(ctx context.Context, key string, body io.Reader) (u events.Upload, err error) {
	manager := transfermanager.New(program.S3(s.info), func(o *transfermanager.Options) { o.Concurrency = 2 })
	in := &transfermanager.UploadObjectInput{Bucket: &s.info.Bucket, Key: &key, Body: body}
	if _, err := manager.UploadObject(ctx, in); err != nil {
		return u, fmt.Errorf("uploading %s: %w", key, err)
	}
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		var page struct{ Uploads []events.Upload }
		if err := s.get(ctx, "/uploads?limit=10", &page); err != nil {
			return u, err
		}
		for _, u := range page.Uploads {
			if u.Key == key && u.Status.Settled() {
				return u, nil
			}
		}
	}
	return u, ctx.Err()
}

func (s *server) remove(ctx context.Context, key string) error {
	_, err := program.S3(s.info).DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.info.Bucket, Key: &key})
	return err
}

func (s *server) get(ctx context.Context, path string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.info.API+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", s.bearer)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// resetPeak resets the process's peak resident memory. https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
func (s *server) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0)
}

// peak returns the peak resident memory since resetPeak, in bytes.
func (s *server) peak() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(string(status), "\nVmHWM:")
	fields := strings.Fields(after)
	if !found || len(fields) < 2 || fields[1] != "kB" {
		return 0, errors.New("/proc/PID/status has no VmHWM; measuring peak memory needs Linux")
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err
}
