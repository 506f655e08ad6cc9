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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
)

// house is `flavorless serve` as users run it: the real program, in a process of its own.
type house struct {
	cmd    *exec.Cmd
	info   local.Info
	bearer string
	log    bytes.Buffer
}

// startHouse builds the program and starts it on a new data folder below dir.
func startHouse(ctx context.Context, dir string) (*house, error) {
	program, data := filepath.Join(dir, "flavorless"), filepath.Join(dir, "data")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/flavorless")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building flavorless (run this in the project's folder): %w", err)
	}
	h := &house{cmd: exec.Command(program, "serve", "--data", data, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0")}
	h.cmd.Stderr = &h.log
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	err := errors.New("it did not start")
	for end := time.Now().Add(time.Minute); err != nil && ctx.Err() == nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		h.info, err = local.ReadInfo(data)
	}
	if err != nil {
		return nil, errors.Join(err, h.stop())
	}
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(data)})
	if err != nil {
		return nil, errors.Join(err, h.stop())
	}
	token, err := is.Sign(issuer.Grant{Subject: "bench", Audience: h.info.Audience, TTL: 24 * time.Hour})
	if err != nil {
		return nil, errors.Join(err, h.stop())
	}
	h.bearer = "Bearer " + token
	return h, nil
}

func (h *house) stop() error {
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("flavorless serve: %w; it logged:\n%s", err, tail(h.log.String(), 20))
	}
	return nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (h *house) s3() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(h.info.S3), Region: h.info.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(h.info.AccessKey, h.info.SecretKey, ""),
	})
}

// upload uploads a file in parts, as command lines do, and waits until it is live or failed. Key is new.
func (h *house) upload(ctx context.Context, key string, body io.Reader) (u events.Upload, err error) {
	if _, err := transfermanager.New(h.s3(), func(o *transfermanager.Options) { o.Concurrency = 2 }).UploadObject(ctx,
		&transfermanager.UploadObjectInput{Bucket: &h.info.Bucket, Key: &key, Body: body}); err != nil {
		return u, fmt.Errorf("uploading %s: %w", key, err)
	}
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		var page struct{ Uploads []events.Upload }
		if err := h.get(ctx, "/uploads?limit=10", &page); err != nil {
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

func (h *house) remove(ctx context.Context, key string) error {
	_, err := h.s3().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &h.info.Bucket, Key: &key})
	return err
}

func (h *house) get(ctx context.Context, path string, v any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.info.API+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", h.bearer)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// resetPeak forgets the highest resident memory so far. https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
func (h *house) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", h.cmd.Process.Pid), []byte("5"), 0)
}

// peak is the highest resident memory since resetPeak, in bytes.
func (h *house) peak() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, found := strings.Cut(string(status), "\nVmHWM:")
	fields := strings.Fields(after)
	if !found || len(fields) < 2 || fields[1] != "kB" {
		return 0, errors.New("this system does not tell the highest resident memory of a process; Linux does")
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err
}
