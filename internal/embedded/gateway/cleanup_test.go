package gateway_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/testutil"
)

// TestAbortIncompleteUploads checks that only uploads without a part for a long time are aborted.
func TestAbortIncompleteUploads(t *testing.T) {
	t.Parallel()
	srv := start(t)
	idle, growing := srv.parts(t, "uploads/a/idle.csv", payload(5<<20)),
		srv.parts(t, "uploads/growing.csv", payload(5<<20))
	for i := range 3 { // several uploads of one key
		srv.parts(t, "uploads/same.csv", payload(10+i))
	}
	old := time.Now().Add(-time.Hour)
	dirs, err := filepath.Glob(filepath.Join(srv.cfg.Dir, "objects", bucket, ".sgwtmp", "multipart", "*", "*"))
	if err != nil || len(dirs) != 5 {
		t.Fatalf("multipart uploads: %v, %v; want 5", dirs, err)
	}
	for _, dir := range dirs {
		if filepath.Base(dir) == *growing.UploadId {
			continue
		}
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := srv.AbortIncompleteUploads(t.Context(), bucket, old); n != 0 || err != nil {
		t.Errorf("aborted %d, %v; want none of the same age", n, err)
	}
	if n, err := srv.AbortIncompleteUploads(t.Context(), bucket, old.Add(time.Second)); n != 4 || err != nil {
		t.Errorf("aborted %d, %v; want 4", n, err)
	}
	if left := srv.staged(t); len(left) != 1 {
		t.Errorf("staged files: %v; want one part", left)
	}
	_, err = srv.s3.CompleteMultipartUpload(t.Context(), idle)
	if code(err) != "NoSuchUpload" {
		t.Errorf("completing the aborted upload: %v, want NoSuchUpload", err)
	}
	if _, err := srv.s3.CompleteMultipartUpload(t.Context(), growing); err != nil {
		t.Errorf("completing the upload that grew: %v, want success", err)
	}
	if diff := cmp.Diff([]string{"uploads/growing.csv"}, srv.keys()); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if n, err := srv.AbortIncompleteUploads(t.Context(), bucket, time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("AbortIncompleteUploads at the end = %d, %v; want 0", n, err)
	}
}

// TestDeleteBefore checks that only old objects of the given bucket are deleted, without those to keep.
func TestDeleteBefore(t *testing.T) {
	t.Parallel()
	now := time.Now()
	srv := start(t)
	none := func(string) bool { return false }
	report := func(key string) {
		t.Helper()
		srv.putObject(t, &s3.PutObjectInput{Bucket: aws.String("reports"), Key: &key, Body: strings.NewReader("{}")})
	}
	for i := range 300 { // more than are read from the directory at once
		report(fmt.Sprintf("old%d/rejects.ndjson", i))
	}
	srv.put(t, "uploads/a.csv", "x")
	mark := time.Now().Add(time.Millisecond)
	testutil.WaitFor(t, "the next millisecond", func() bool { return time.Now().After(mark) })
	report("new/rejects.ndjson")
	if n, err := srv.DeleteBefore(t.Context(), "reports", now.Add(-time.Second), none); n != 0 || err != nil {
		t.Errorf("removed %d, %v; want none", n, err)
	}
	kept := func(key string) bool { return key == "old7/rejects.ndjson" }
	if n, err := srv.DeleteBefore(t.Context(), "reports", mark, kept); n != 299 || err != nil {
		t.Errorf("removed %d, %v; want 299", n, err)
	}
	if n, err := srv.DeleteBefore(t.Context(), "reports", mark, none); n != 1 || err != nil {
		t.Errorf("removed %d, %v; want 1", n, err)
	}
	list, err := srv.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("reports")})
	if err != nil || len(list.Contents) != 1 || *list.Contents[0].Key != "new/rejects.ndjson" {
		t.Errorf("%d left, %v; want the new one", len(list.Contents), err)
	}
	// and .sgwtmp
	if folders, err := os.ReadDir(filepath.Join(srv.cfg.Dir, "objects", "reports")); err != nil || len(folders) > 2 {
		t.Errorf("%d folders left, %v; want 2", len(folders), err)
	}
	srv.checkContent(t, "uploads/a.csv", "x")
}

// TestDelete checks that an object that was replaced by a later upload stays.
func TestDelete(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "uploads/a.csv", "one")
	first := srv.last(t, "uploads/a.csv")
	srv.put(t, "uploads/a.csv", "two")
	second := srv.last(t, "uploads/a.csv")
	if err := srv.Delete(t.Context(), bucket, first.Key, first.UploadID()); err != nil {
		t.Fatal(err)
	}
	srv.checkContent(t, "uploads/a.csv", "two")
	for range 2 { // deleting again is no error
		if err := srv.Delete(t.Context(), bucket, second.Key, second.UploadID()); err != nil {
			t.Fatal(err)
		}
	}
	if got := srv.objects(t); len(got) != 0 {
		t.Errorf("left: %v, want nothing", got)
	}
	if err := srv.tryPut(t, "uploads/a.csv", bytes.Repeat([]byte("x"), 3)); err != nil {
		t.Errorf("storing the key again: %v", err)
	}
}
