package gateway_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestConflictingKeys checks that keys that need the path of another object are refused with the reason, by every
// operation.
func TestConflictingKeys(t *testing.T) {
	t.Parallel()
	srv := start(t)
	srv.put(t, "uploads/file", "x")
	srv.put(t, "uploads/folder/a.csv", "x")
	srv.put(t, "uploads/marker/", "")
	srv.put(t, "source.csv", "x")
	before := tree(t, filepath.Join(srv.cfg.Dir, "objects"))
	announced := len(srv.all())
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
		path := "/uploads/" + key
		for name, r := range map[string]request{
			"PUT":   {method: "PUT", path: path, body: "data"},
			"copy":  {method: "PUT", path: path, header: headers{"X-Amz-Copy-Source": "/" + bucket + "/source.csv"}},
			"form":  form(t, headers{"key": key}, time.Now(), "data"),
			"parts": {method: "POST", path: path, query: "uploads="},
		} {
			got := srv.send(t, r)
			if got.status != test.status || !strings.Contains(got.body, test.why) {
				t.Errorf("%s of %s: %s %s, want %d", name, key, got, got.body, test.status)
			}
		}
	}
	if got := srv.send(t, request{method: "PUT", path: "/uploads/uploads/file/"}); got.status != 409 {
		t.Errorf("a folder marker over a file: %s, want 409", got)
	}
	checkUnchanged(t, filepath.Join(srv.cfg.Dir, "objects"), before)
	srv.checkNothingAnnounced(t, announced)
	// The key is accepted once the other object is deleted.
	srv.delete(t, "uploads/folder/a.csv")
	srv.put(t, "uploads/folder", "x")
}

// TestKeyBecomesFolderDuringUpload checks that a completion fails if the key conflicts with an object stored in
// between.
func TestKeyBecomesFolderDuringUpload(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for key, other := range map[string]string{"uploads/a": "uploads/a/b.csv", "uploads/c/d/e.csv": "uploads/c/d",
		"uploads/f/g.csv": "uploads/f"} {
		complete := srv.parts(t, key, payload(5<<20), payload(7))
		srv.put(t, other, "x")
		_, err := srv.s3.CompleteMultipartUpload(t.Context(), complete)
		if status(err) != 409 || !strings.Contains(err.Error(), strings.TrimSuffix(other, "/b.csv")) {
			t.Errorf("completing %s beside %s: %v, want 409", key, other, err)
		}
		srv.checkContent(t, other, "x")
		srv.delete(t, other)
		if _, err := srv.s3.CompleteMultipartUpload(t.Context(), complete); err != nil {
			t.Errorf("completing %s after %s was deleted: %v, want success", key, other, err)
		}
	}
}

// TestEmptyFolderIsReplaced checks that an empty folder, which a crash can leave, does not block a key.
func TestEmptyFolderIsReplaced(t *testing.T) {
	t.Parallel()
	srv := start(t)
	folder := filepath.Join(srv.cfg.Dir, "objects", bucket, "uploads", "a")
	mkdir(t, folder)
	srv.put(t, "uploads/a", "x")
	if info, err := os.Stat(folder); err != nil || info.IsDir() {
		t.Errorf("after the upload: %v, %v; want a file", info, err)
	}
}
