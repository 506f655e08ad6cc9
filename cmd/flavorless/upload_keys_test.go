package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
)

func TestUploadKey(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	csv := writeFile(t, "ok.csv", "person,flavor\nandy,vanilla\n")
	latin1 := filepath.Join(t.TempDir(), "caf\xe9.csv")
	if err := os.WriteFile(latin1, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	upload := func(t *testing.T, args ...string) result {
		return command(t, "", append([]string{"upload", "--data", p.dir}, args...)...)
	}
	long := strings.Repeat("a", 250)
	for _, test := range []struct {
		name string
		args []string
		want string // part of the message
	}{
		{"not UTF-8", []string{csv, "--key", "a\xff.csv"}, `"uploads/a\xff.csv" is not UTF-8`},
		{"file name not UTF-8", []string{latin1}, `caf\xe9.csv" is not UTF-8`},
		{"NUL", []string{csv, "--key", "a\x00.csv"}, `U+0000`},
		{"U+0001", []string{csv, "--key", "a\x01.csv"}, `U+0001`},
		{"ESC", []string{csv, "--key", "\x1b[2J.csv"}, `U+001B`},
		{"U+FFFF", []string{csv, "--key", "\uffff.csv"}, `U+FFFF`},
		{"leading slash", []string{csv, "--key", "/g.csv"}, "begins with a slash"},
		{"two slashes", []string{csv, "--key", "a//b.csv"}, "empty"},
		{"two slashes after the prefix", []string{csv, "--key", "uploads//b.csv"}, "empty"},
		{"dot", []string{csv, "--key", "./c.csv"}, `segment "."`},
		{"dot in between", []string{csv, "--key", "a/./c.csv"}, `segment "."`},
		{"two dots", []string{csv, "--key", "e/../f.csv"}, `segment ".."`},
		{"out of uploads", []string{csv, "--key", "../d.csv"}, `segment ".."`},
		{"folder", []string{csv, "--key", "h.csv/"}, "folder"},
		{"folder of a folder", []string{csv, "--key", "a/h.csv/"}, "folder"},
		{"only the prefix", []string{csv, "--key", "uploads/"}, "folder"},
		{"empty", []string{csv, "--key", ""}, "folder"},
		{"URI", []string{csv, "--key", "s3://" + p.info.Bucket + "/uploads/x.csv"}, "only the part after uploads/"},
		{"URL", []string{csv, "--key", "https://example.com/x.csv"}, "only the part after uploads/"},
		{"too long", []string{csv, "--key", strings.Repeat(long+"/", 4) + "a23456789.csv"}, "1024 bytes"},
		{"segment too long", []string{csv, "--key", long + long + ".csv"}, "255 bytes"},
		{"too deep", []string{csv, "--key", strings.Repeat("a/", 63) + "a.csv"}, "64 segments"},
		{"trailing space", []string{csv, "--key", "x.csv "}, `"uploads/x.csv "`},
		{"AppleDouble", []string{csv, "--key", "._x.csv"}, "server ignores"},
		{"refused by the bucket", []string{csv, "--key", ".sgwtmp/x.csv"}, `"uploads/.sgwtmp/x.csv"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := upload(t, test.args...)
			if got.code != exitUsage || got.out != "" || !strings.Contains(got.err, test.want) {
				t.Errorf("exit code %d, output %q, stderr %q; want exit code %d and %q", got.code, got.out, got.err, exitUsage,
					test.want)
			}
			for _, raw := range []string{"operation error", "RequestID", "\x1b", "\x00"} {
				if strings.Contains(got.err, raw) {
					t.Errorf("stderr = %q, want it without %q", got.err, raw)
				}
			}
			if strings.Count(got.err, "\n") != 1 {
				t.Errorf("stderr = %q, want one line", got.err)
			}
		})
	}
	if out, err := p.s3().ListObjectsV2(t.Context(),
		&s3.ListObjectsV2Input{Bucket: aws.String(p.info.Bucket)}); err != nil || len(out.Contents) != 0 {
		t.Errorf("ListObjectsV2 after refused keys = %v, %v; want no objects", out, err)
	}
	for key, want := range map[string]string{
		"x.csv": "uploads/x.csv", "uploads/y.csv": "uploads/y.csv", "2026/11/z.csv": "uploads/2026/11/z.csv",
		" a+%b.csv": "uploads/ a+%b.csv", "zoë/\x7f\u202e\t.csv": "uploads/zoë/\x7f\u202e\t.csv",
		"uploads/uploads/v.csv": "uploads/uploads/v.csv",

		strings.Repeat(long+"/", 4) + "a2345678.csv": "uploads/" + strings.Repeat(long+"/", 4) + "a2345678.csv",
	} {
		var u events.Upload
		if got := upload(t, csv, "--key", key, "--json", "--timeout", "1m"); got.code != exitOK ||
			json.Unmarshal([]byte(got.out), &u) != nil || u.Key != want {
			t.Errorf("--key %q: %+v, want the key %q", key, got, want)
		}
	}
	command(t, "", "uploads", "--data", p.dir).wantOut(t, exitOK, `"uploads/zoë/\x7f\u202e\t.csv"`)
	got := upload(t, csv, "--key", "x.csv/y.csv")
	refused := got.code == exitUsage && strings.Contains(got.err, `"uploads/x.csv/y.csv"`) &&
		!strings.Contains(got.err, "RequestID")
	if got.code != exitOK && !refused {
		t.Errorf("upload below the key of an object = %+v, want success or a refusal with the key", got)
	}
}

func TestKeyOfStack(t *testing.T) {
	for key, good := range map[string]bool{
		"/g.csv": true, "a//b.csv": true, "./c.csv": true, "e/../f.csv": true, "a\x01.csv": true,
		strings.Repeat("a", 500) + ".csv": true, "uploads/x.csv": true,
		"../../d.csv": false, "a\xff.csv": false, "a\x00.csv": false, "a\uffff.csv": false,
		"s3://b/uploads/x.csv": false, "h.csv/": false, strings.Repeat("a", 1014) + ".csv": false,
	} {
		f := uploadFlags{key: key, keySet: true}
		s := source{file: "ok.csv"}
		if err := f.setKey(&s, true); (err == nil) != good || good &&
			s.key != "uploads/"+strings.TrimPrefix(key, "uploads/") {
			t.Errorf("setKey(%q) = %v with the key %q, want success: %t", key, err, s.key, good)
		}
	}
}

// TestUploadInterrupted: Ctrl-C removes sent parts, or says how to see the status of the file.
func TestUploadInterrupted(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	if got := command(t, "", "token", "--data", p.dir); got.code != exitOK {
		t.Fatalf("token = %+v, want exit code %d", got, exitOK)
	} else {
		t.Setenv("FLAVORLESS_TOKEN", strings.TrimSpace(got.out))
	}
	t.Setenv("FLAVORLESS_BUCKET", p.info.Bucket)
	t.Setenv("AWS_REGION", p.info.Region)
	t.Setenv("AWS_ACCESS_KEY_ID", p.info.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", p.info.SecretKey)
	large := writeFile(t, "large.csv", "person,flavor\n"+strings.Repeat("andy,"+strings.Repeat("vanilla ", 31)+"\n",
		120_000)) // 4 parts
	small := writeFile(t, "small.csv", "person,flavor\nandy,vanilla\n")
	for _, test := range []struct {
		name, file string
		when       func(r *http.Request) bool // the request at which Ctrl-C is pressed
		want       string
		uploaded   bool
	}{
		{"beginning", large, func(r *http.Request) bool {
			return r.Method == http.MethodPost &&
				r.URL.Query().Has("uploads")
		}, "are removed", false},
		{"first part", large, func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "1" }, "are removed",
			false},
		{"third part", large, func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "3" }, "are removed",
			false},
		{"completion", large, func(r *http.Request) bool {
			return r.Method == http.MethodPost &&
				r.URL.Query().Has("uploadId")
		}, "flavorless uploads", true},
		{"followed", small, func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/uploads/") },
			"flavorless uploads ", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			through := func(to string) string {
				target, err := url.Parse(to)
				if err != nil {
					t.Fatal(err)
				}
				proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
					r.SetURL(target)
					r.Out.Host = r.In.Host // because the signature covers it
				}}
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if test.when(r) {
						interrupt()
					}
					proxy.ServeHTTP(w, r)
				}))
				t.Cleanup(server.Close)
				return server.URL
			}
			t.Setenv("FLAVORLESS_URL", through(p.info.API))
			t.Setenv("AWS_ENDPOINT_URL_S3", through(p.info.S3))
			key := strings.ReplaceAll(test.name, " ", "-") + ".csv"
			got := commandUntil(ctx, "", "upload", test.file, "--key", key)
			if got.code != exitFailed || !strings.Contains(got.err, test.want) || strings.Count(got.err, "\n") != 1 ||
				strings.Contains(got.err, "operation error") {
				t.Errorf("%+v, want exit code %d and one line with %q", got, exitFailed, test.want)
			}
			parts, err := p.s3().ListMultipartUploads(t.Context(),
				&s3.ListMultipartUploadsInput{Bucket: aws.String(p.info.Bucket)})
			if err != nil || len(parts.Uploads) != 0 {
				t.Errorf("%d uploads in parts are left (%v), want none", len(parts.Uploads), err)
			}
			if test.uploaded {
				p.settled("uploads/" + key)
			}
		})
	}
}

// stuck is a reader that blocks forever. It calls asked first.
type stuck struct{ asked func() }

func (s stuck) Read([]byte) (int, error) {
	s.asked()
	select {}
}

// TestUploadStdinInterrupted: Ctrl-C stops waiting for standard input, and nothing is uploaded.
func TestUploadStdinInterrupted(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, stderr bytes.Buffer
	code := run(ctx, []string{"upload", "-", "--as", "x.csv", "--data", p.dir},
		&terminal{in: stuck{interrupt}, out: &out, err: &stderr})
	if code != exitFailed || !strings.Contains(stderr.String(), "stopped") {
		t.Errorf("exit code = %d, stderr = %q; want %d and stopped", code, stderr.String(), exitFailed)
	}
	list, err := p.s3().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(p.info.Bucket)})
	if err != nil || len(list.Contents) != 0 {
		t.Errorf("%d objects (%v), want none", len(list.Contents), err)
	}
}
