package gateway_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// FuzzKey checks that an object is stored, announced, listed and read under exactly the key of its PUT, or it is
// refused with 400 and leaves nothing.
func FuzzKey(f *testing.F) {
	for _, key := range append([]string{
		"uploads/a.csv", "uploads/%2e%2e/x", "uploads/..%2fx", "uploads/...", "uploads/.a", "uploads/a ", " ",
		"uploads/ü+ñ", "uploads/a\nb", "uploads/a\rb\tc", "uploads/\u0085\u200f",
		"uploads/\\..\\x", "uploads/a/b/c/", "meta/etag", "uploads/" + strings.Repeat("ü", 127),
		strings.Repeat("a/", 63) + "ab", ".sgwtmpx", "x/.sgwtmp/y", "~", "?x=1&versionId=y#z", "a%", "C:\\x", "aux",
		"\U0001F366",
	}, badKeys...) {
		f.Add(key, false)
		f.Add(key, true)
	}
	srv := start(f, func(c *gateway.Config) { c.Prefix = "" })
	objects := filepath.Join(srv.cfg.Dir, "objects", bucket)
	f.Fuzz(func(t *testing.T, key string, folder bool) {
		if folder {
			key += "/"
		}
		// The path "/bucket/" means the bucket, so such a key can't be sent.
		if strings.Trim(key, "/") == "" {
			return
		}
		body := key
		if strings.HasSuffix(key, "/") {
			body = ""
		}
		before := len(srv.keys())
		got := srv.send(t, request{method: "PUT", path: "/uploads/" + escape(key), body: body})
		list, err := srv.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: uploads})
		if err != nil {
			t.Fatalf("listing after PUT of %q: %v", key, err)
		}
		switch got.status {
		case 200:
			if len(list.Contents) != 1 || *list.Contents[0].Key != key {
				t.Errorf("list = %v, want only %q", list.Contents, key)
			}
			if got := srv.send(t, request{method: "GET", path: "/uploads/" + escape(key)}); got.status != 200 ||
				got.body != body {
				t.Errorf("GET of %q: %s %q, want 200 and %q", key, got, got.body, body)
			}
			if keys := srv.keys()[before:]; body != "" && (len(keys) != 1 || keys[0] != key) {
				t.Errorf("announced %q, want only %q", keys, key)
			}
			if _, err := os.Lstat(filepath.Join(objects, filepath.FromSlash(key))); err != nil {
				t.Errorf("file of %q: %v, want it at the path of the key", key, err)
			}
			if got := srv.send(t, request{method: "DELETE", path: "/uploads/" + escape(key)}); got.status != 204 {
				t.Fatalf("deleting %q: %s, want 204", key, got)
			}
		case 400:
			if len(list.Contents) != 0 || len(srv.keys()) != before {
				t.Errorf("%q was refused; listed %v, announced %v, want nothing", key, list.Contents, srv.keys()[before:])
			}
			err := filepath.WalkDir(objects, func(path string, d fs.DirEntry, err error) error {
				if path != objects && !strings.HasPrefix(path, filepath.Join(objects, ".sgwtmp")) {
					t.Errorf("%q was refused, but left %s; want nothing", key, path)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%q: %s, want 200 or 400", key, got)
		}
	})
}
