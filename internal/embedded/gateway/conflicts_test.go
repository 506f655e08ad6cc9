package gateway_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestKeysThatNeedOnePath: what the gateway can't keep beside another object is refused with the reason, however it is sent.
func TestKeysThatNeedOnePath(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.put(t, "uploads/file", "x")
	e.put(t, "uploads/folder/a.csv", "x")
	e.put(t, "uploads/marker/", "")
	e.put(t, "source.csv", "x")
	before := tree(t, filepath.Join(e.cfg.Dir, "objects"))
	announced := len(e.all())
	for key, test := range map[string]struct {
		status int
		why    string
	}{
		"uploads/file/a.csv":        {409, `object &#34;uploads/file&#34;`},
		"uploads/file/deep/er.csv":  {409, `object &#34;uploads/file&#34;`},
		"uploads/file/":             {400, "folder"},
		"uploads/folder":            {409, `folder &#34;uploads/folder/&#34;`},
		"uploads/marker":            {409, `folder &#34;uploads/marker/&#34;`},
		"uploads":                   {409, `folder &#34;uploads/&#34;`},
		"uploads/new/":              {400, "folder"},
		"uploads/marker/sub/":       {400, "folder"},
		"uploads/folder/a.csv/b/c/": {400, "folder"},
	} {
		path := "/" + bucket + "/" + key
		for name, r := range map[string]request{
			"PUT":   {method: "PUT", path: path, body: "data", by: uploader},
			"copy":  {method: "PUT", path: path, header: map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/source.csv"}, by: uploader},
			"form":  form(t, map[string]string{"key": key}, time.Now(), "data"),
			"parts": {method: "POST", path: path, query: "uploads=", by: uploader},
		} {
			got := e.ask(t, r)
			if got.status != test.status || !strings.Contains(got.body, test.why) {
				t.Errorf("%s of %s: %s %s, want %d", name, key, got, got.body, test.status)
			}
		}
	}
	if got := e.ask(t, request{method: "PUT", path: "/" + bucket + "/uploads/file/", by: uploader}); got.status != 409 {
		t.Errorf("a folder marker over a file: %s, want 409", got)
	}
	if after := tree(t, filepath.Join(e.cfg.Dir, "objects")); after != before {
		t.Errorf("files changed:\n%s\nbefore:\n%s", after, before)
	}
	if got := e.all()[announced:]; len(got) > 0 {
		t.Errorf("announced: %v", got)
	}
	// Another order, once the other object is gone.
	if _, err := e.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/folder/a.csv")}); err != nil {
		t.Fatal(err)
	}
	e.put(t, "uploads/folder", "x")
}

// TestAKeyThatBecameAFolder while it was uploaded in parts.
func TestAKeyThatBecameAFolder(t *testing.T) {
	t.Parallel()
	e := start(t)
	for key, other := range map[string]string{"uploads/a": "uploads/a/b.csv", "uploads/c/d/e.csv": "uploads/c/d", "uploads/f/g.csv": "uploads/f"} {
		complete := e.parts(t, key, payload(5<<20), payload(7))
		e.put(t, other, "x")
		_, err := e.s3.CompleteMultipartUpload(t.Context(), complete)
		if status(err) != 409 || !strings.Contains(err.Error(), strings.TrimSuffix(other, "/b.csv")) {
			t.Errorf("completing %s beside %s: %v, want 409", key, other, err)
		}
		if got := e.get(t, other); got != "x" {
			t.Errorf("%s is %q now", other, got)
		}
		if _, err := e.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &other}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
			t.Errorf("completing %s once %s is gone: %v", key, other, err)
		}
	}
}

// TestAnEmptyFolderIsNotInTheWay: a crash may leave one.
func TestAnEmptyFolderIsNotInTheWay(t *testing.T) {
	t.Parallel()
	e := start(t)
	folder := filepath.Join(e.cfg.Dir, "objects", bucket, "uploads", "a")
	mkdir(t, folder)
	e.put(t, "uploads/a", "x")
	if info, err := os.Stat(folder); err != nil || info.IsDir() {
		t.Errorf("after the upload: %v, %v", info, err)
	}
}
