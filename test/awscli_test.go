package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestAWSCommandLine uploads with the aws command line as users do: cp, sync, copies, metadata, and multipart uploads.
func TestAWSCommandLine(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	aws, err := exec.LookPath("aws")
	if err != nil {
		if os.Getenv(testutil.ToolsEnv) != "" {
			t.Fatalf("the aws command line is missing although %s is set: %v", testutil.ToolsEnv, err)
		}
		t.Skip("the aws command line is missing; make test installs it")
	}
	files, team := teamFiles(t)
	s := startServer(t)
	bucket := "s3://" + s.Info().Bucket
	run := func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), aws, args...)
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "HOME=") {
				c.Env = append(c.Env, v)
			}
		}
		c.Env = append(c.Env, "HOME="+t.TempDir(), "AWS_ENDPOINT_URL_S3="+s.Info().S3, "AWS_REGION="+s.Info().Region,
			"AWS_ACCESS_KEY_ID="+s.Info().AccessKey, "AWS_SECRET_ACCESS_KEY="+s.Info().SecretKey)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, text := range files {
		write(name, text)
	}
	checkTeam := func() {
		t.Helper()
		_, body := s.get("/team")
		if got := strings.TrimSpace(string(body)); got != team {
			t.Errorf("GET /team (-want +got):\n%s", gocmp.Diff(team, got))
		}
	}
	checkUpload := func(key string, status events.Status, applied int64) events.Upload {
		t.Helper()
		u := s.settled(key)
		if u.Status != status || u.Counts.Applied != applied {
			t.Errorf("upload %s is %s with %d rows applied, want %s with %d", key, u.Status, u.Counts.Applied, status, applied)
		}
		return u
	}

	run("s3", "cp", filepath.Join(dir, "favorites.csv"), bucket+"/uploads/")
	s.settled("uploads/favorites.csv")
	checkTeam()

	run("s3", "sync", dir, bucket+"/uploads/sync/")
	for name := range files {
		if u := s.settled("uploads/sync/" + name); u.Status != events.Live {
			t.Errorf("upload %s is %s, want live: %+v", name, u.Status, u.Failure)
		}
	}
	checkTeam()

	run("s3", "cp", bucket+"/uploads/favorites.csv", bucket+"/uploads/a copy, 100% ü.csv")
	checkUpload("uploads/a copy, 100% ü.csv", events.Live, 8)

	bad := write("bad.csv", []byte("person,flavor\nandy,lemon\nbill,\n"))
	run("s3", "cp", "--metadata", "on-error=abort", bad, bucket+"/uploads/")
	u := checkUpload("uploads/bad.csv", events.Failed, 0)
	if u.Failure == nil || u.Failure.Code != events.Aborted || u.Counts.Rejected != 2 {
		t.Errorf("upload %s: failure %+v, %d rows rejected; want %s, 2", u.Key, u.Failure, u.Counts.Rejected, events.Aborted)
	}
	checkTeam()

	run("s3", "cp", bad, bucket+"/elsewhere/") // outside of uploads/, so it must not be ingested

	const people = 30_000 // makes the file larger than 8 MiB, from which on the aws command line uploads in parts
	var b bytes.Buffer
	b.WriteString("person,flavor,remark\n")
	for i := range people {
		fmt.Fprintf(&b, "person number %06d,mint chocolate chip,%0300d\n", i, i)
	}
	run("s3", "cp", write("large.csv", b.Bytes()), bucket+"/uploads/")
	if u := checkUpload("uploads/large.csv", events.Live, people); !strings.Contains(u.ETag, "-") {
		t.Errorf("the ETag of %s is %s, want that of a multipart upload", u.Key, u.ETag)
	}
	if _, body := s.get("/uploads?limit=500"); strings.Contains(string(body), "elsewhere/") {
		t.Error("an object outside of uploads/ was ingested")
	}
}
