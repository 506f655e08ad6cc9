package main

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
)

// TestUploadRefused: an error of S3 becomes one plain sentence without request ids.
func TestUploadRefused(t *testing.T) {
	const document = `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>%CODE%</Code><Message>%TEXT%</Message><RequestId>REQUEST</RequestId><HostId>HOST</HostId></Error>`
	for name, test := range map[string]struct {
		status          int
		code, text, raw string
		want            string
		exit            int
	}{
		"key": {400, "InvalidArgument", "The key is not nice. Use another key.", "",
			`as "uploads/ok.csv": the key is not nice; use another key`, exitUsage},
		"size": {400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.", "",
			"the file is larger than the bucket allows; split it", exitUsage},
		"access": {403, "AccessDenied", "Access Denied", "", `as "uploads/ok.csv": access denied`, exitUsage},
		"credentials": {403, "SignatureDoesNotMatch", "The request signature we calculated does not match.", "",
			"the request signature we calculated", exitUsage},
		"bucket": {404, "NoSuchBucket", "The specified bucket does not exist", "",
			"the specified bucket does not exist", exitUsage},
		"conflict": {409, "ObjectParentIsFile", "Object parent already exists as a file.", "",
			"object parent already exists as a file", exitUsage},
		"no message":   {412, "PreconditionFailed", "", "", "answers 412 Precondition Failed", exitUsage},
		"not XML":      {403, "", "", "<html>forbidden</html>", `as "uploads/ok.csv": forbidden`, exitUsage},
		"control text": {400, "InvalidArgument", "a\u009b2Jb", "", `a\u009b2Jb`, exitUsage},
		"umlaut":       {400, "InvalidArgument", "Übel ist das.", "", `: übel ist das`, exitUsage},
		"abbreviation": {400, "InvalidRequest", "MD5 is missing. Send it.", "", "MD5 is missing; send it", exitUsage},
		"full":         {507, "InsufficientStorage", "The disk is full.", "", "the disk is full\n", exitFailed},
		"busy":         {429, "Busy", "Too many requests.", "", "too many requests; try again later", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPut {
					_, _ = io.WriteString(w, `{"uploads":[]}`)
					return
				}
				w.Header().Set("X-Amz-Request-Id", "REQUEST")
				w.Header().Set("X-Amz-Id-2", "HOST")
				w.WriteHeader(test.status)
				if test.raw != "" {
					_, _ = io.WriteString(w, test.raw)
				} else {
					_, _ = strings.NewReplacer("%CODE%", test.code, "%TEXT%", test.text).WriteString(w, document)
				}
			}))
			defer server.Close()
			for name, value := range map[string]string{
				"FLAVORLESS_URL": server.URL, "FLAVORLESS_TOKEN": "t", "FLAVORLESS_BUCKET": "b",
				"AWS_ENDPOINT_URL_S3": server.URL, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
			} {
				t.Setenv(name, value)
			}
			got := command(t, "", "upload", writeFile(t, "ok.csv", goodCSV))
			if got.code != test.exit || got.out != "" || !strings.Contains(got.err, test.want) ||
				strings.Count(got.err, "\n") != 1 {
				t.Errorf("%+v, want exit code %d and one line with %q", got, test.exit, test.want)
			}
			for _, raw := range []string{"operation error", "REQUEST", "HOST", "StatusCode", "api error"} {
				if strings.Contains(got.err, raw) {
					t.Errorf("stderr = %q, want it without %q", got.err, raw)
				}
			}
		})
	}
}

// TestRandomKeys: for each key, upload either stores the file under exactly that key, or refuses it and stores nothing.
func TestRandomKeys(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	csv := writeFile(t, "ok.csv", goodCSV)
	const seed = 17
	random := rand.New(rand.NewPCG(seed, seed))
	pieces := []string{
		"a", "b", "/", "//", ".", "..", "/../", "./", "%", "%2F", "%00", "+", " ", "ü", "é",
		"\x00", "\x01", "\xff", "\xc3", "?", "#", "\\", ":", "~", "\ufffe", "\U0001F366", "uploads/",
		strings.Repeat("l", 120),
	}
	good := 0
	for range 150 {
		var key strings.Builder
		for range random.IntN(12) + 1 {
			if n := random.IntN(len(pieces) + 2); n < len(pieces) {
				key.WriteString(pieces[n])
			} else {
				key.WriteByte(byte(random.Uint32()))
			}
		}
		key.WriteString([]string{".csv", ".csv", ".csv", "", ".csv/"}[random.IntN(5)])
		got := command(t, "", "upload", csv, "--data", p.dir, "--json", "--timeout", "1m", "--key", key.String())
		var u events.Upload
		switch {
		case got.code == exitUsage && got.out == "" && strings.Count(got.err, "\n") == 1:
			u.Key = ""
		case got.code == exitOK && json.Unmarshal([]byte(got.out), &u) == nil &&
			u.Key == uploadsPrefix+strings.TrimPrefix(key.String(), uploadsPrefix):
			good++
		default:
			t.Errorf("upload --key %q (seed %d) = %+v, want success with that key or a usage error", key.String(), seed, got)
		}
	}
	objects := 0
	pages := s3.NewListObjectsV2Paginator(p.s3(), &s3.ListObjectsV2Input{Bucket: aws.String(p.info.Bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		objects += len(page.Contents)
	}
	if good < 10 || objects > good { // two uploads may have the same key
		t.Errorf("%d objects of %d uploads, want at least 10, and no object of a refused key", objects, good)
	}
}

// TestStackKeys: the bucket of a stack accepts keys that can't be paths of files.
func TestStackKeys(t *testing.T) {
	const bucket = "flavorless-keys"
	c := deployStack(t, map[string]string{"ServiceEndpoint": "http://127.0.0.1:1", "UploadsBucketName": bucket})
	t.Setenv("AWS_ENDPOINT_URL_S3", emulator.URL(t)) // the proxy in front of moto cleans paths
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	var exists interface{ ErrorCode() string }
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil &&
		!errors.As(err, &exists) {
		t.Fatal(err)
	}
	csv := writeFile(t, "ok.csv", goodCSV)
	want := []string{"uploads//lead.csv", "uploads/a//b.csv", "uploads/" + strings.Repeat("a", 300) + ".csv"}
	for _, key := range want {
		if got := command(t, "", "upload", csv, "--stack", c.stack, "--detach", "--key",
			strings.TrimPrefix(key, uploadsPrefix)); got.code != exitOK {
			t.Errorf("upload --key of %s = %+v, want exit code %d", key, got, exitOK)
		}
	}
	for _, key := range []string{"../../out.csv", "a\xff.csv", "a\x00.csv", "folder.csv/"} {
		if got := command(t, "", "upload", csv, "--stack", c.stack, "--detach", "--key", key); got.code != exitUsage {
			t.Errorf("--key %q: %+v, want exit code %d", key, got, exitUsage)
		}
	}
	out, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, o := range out.Contents {
		keys = append(keys, aws.ToString(o.Key))
	}
	if slices.Sort(keys); !slices.Equal(keys, want) {
		t.Errorf("the bucket has %q, want %q", keys, want)
	}
}
