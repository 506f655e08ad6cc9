package gateway_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestRecoverAfterCrash(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	cfg := config(t, r)
	srv := open(t, cfg, r)
	complete := srv.parts(t, "uploads/p.csv", payload(5<<20), payload(7))
	srv.put(t, "uploads/a.csv", "x")
	stop(t, srv.Gateway)

	// A process was killed during a PUT and the completion of a multipart upload.
	staging := filepath.Join(cfg.Dir, "objects", bucket, ".sgwtmp")
	partial := filepath.Join(staging, "0123.456")
	if err := os.WriteFile(partial, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	uploads, err := filepath.Glob(filepath.Join(staging, "multipart", "*", *complete.UploadId))
	if err != nil || len(uploads) != 1 {
		t.Fatalf("multipart uploads %v, %v; want one", uploads, err)
	}
	if err := os.Rename(uploads[0], uploads[0]+".d41d8cd98f00b204e9800998ecf8427e-2.inprogress"); err != nil {
		t.Fatal(err)
	}

	srv = open(t, cfg, r)
	if _, err := os.Stat(partial); !os.IsNotExist(err) {
		t.Errorf("partial file: %v, want it removed", err)
	}
	srv.complete(t, complete)
	if got := srv.last(t, "uploads/p.csv").Size; got != 5<<20+7 {
		t.Errorf("announced size = %d, want that of the body", got)
	}
	srv.checkScan(t)
}

// TestStartWithUnexpectedFiles starts with files in the gateway's own folder that requests to earlier releases could
// create.
func TestStartWithUnexpectedFiles(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "uploads/kept.csv", "kept")
	srv.put(t, "uploads/renamed.csv", "x")
	mp := srv.parts(t, "uploads/parts.csv", payload(5<<20), payload(7))
	stop(t, srv.Gateway)
	objects := filepath.Join(srv.cfg.Dir, "objects")
	staging := filepath.Join(objects, bucket, ".sgwtmp")
	for _, name := range []string{
		staging + "/multipart/x", staging + "/file", staging + "/folder/x", staging + "/multipart/folder/x",
		staging + "/multipart/folder/x.inprogress/y",
		objects + "/uploads/uploads/bad\xff/x.csv", objects + "/uploads/uploads/bad\xff.csv", objects + "/file",
		objects + "/Not A Bucket/x",
	} {
		mkdir(t, filepath.Dir(name))
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(objects, bucket, "uploads", "renamed.csv"),
		filepath.Join(objects, bucket, "uploads", "a\x01.csv")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(staging, "multipart", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(objects, "reports", ".sgwtmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(objects, "reports", ".sgwtmp"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	restarted := open(t, srv.cfg, srv.recorder)
	if _, err := restarted.s3.CompleteMultipartUpload(t.Context(), mp); err != nil {
		t.Errorf("completing an upload after the restart: %v, want success", err)
	}
	if _, err := restarted.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("reports"),
		Key: aws.String("a"), Body: strings.NewReader("x")}); err != nil {
		t.Errorf("storing where a file replaced the staging folder: %v, want success", err)
	}
	for _, prefix := range []string{"", "uploads/"} {
		list, err := restarted.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: uploads, Prefix: &prefix})
		var keys []string
		if err == nil {
			for _, o := range list.Contents {
				keys = append(keys, *o.Key)
			}
		}
		if err != nil || !slices.Contains(keys, "uploads/kept.csv") || !slices.Contains(keys, "uploads/parts.csv") {
			t.Errorf("listing %q: %v, %q; want both valid keys", prefix, err, keys)
		}
	}
	if v1, err := restarted.s3.ListObjects(t.Context(), &s3.ListObjectsInput{Bucket: uploads}); err != nil ||
		len(v1.Contents) < 2 {
		t.Errorf("ListObjects: %v, %v; want both valid keys", v1, err)
	}
	if found := restarted.objects(t); len(found) != 2 {
		t.Errorf("found %v, want the two that have a key", found)
	}
	if n, err := restarted.AbortIncompleteUploads(t.Context(), bucket, time.Now().Add(time.Hour)); err != nil {
		t.Errorf("AbortIncompleteUploads: %d, %v; want success", n, err)
	}
	if left, err := filepath.Glob(filepath.Join(objects, ".set-aside", "*")); err != nil || len(left) != 2 {
		t.Errorf("set aside: %v, %v; want the folder and the file that were in the way", left, err)
	}
}
