package gateway_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// form returns a form with a policy that allows all fields, signed by the uploader at that time.
func form(t testing.TB, fields map[string]string, at time.Time, content string) request {
	t.Helper()
	return formFor(t, fields, at, content)
}

// formFor is form with additional conditions in the policy.
func formFor(t testing.TB, fields map[string]string, at time.Time, content string, more ...any) request {
	t.Helper()
	day := at.UTC().Format("20060102")
	all := headers{
		"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": uploader.AccessKey + "/" + day +
			"/us-east-1/s3/aws4_request",
		"x-amz-date": at.UTC().Format("20060102T150405Z"),
	}
	maps.Copy(all, fields)
	conditions := append([]any{headers{"bucket": bucket}}, more...)
	for name := range all {
		conditions = append(conditions, []string{"starts-with", "$" + strings.ToLower(name), ""})
	}
	expiration := time.Now().Add(24 * time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")
	policy, err := json.Marshal(map[string]any{"expiration": expiration, "conditions": conditions})
	if err != nil {
		t.Fatal(err)
	}
	all["policy"] = base64.StdEncoding.EncodeToString(policy)
	key := []byte("AWS4" + uploader.SecretKey)
	for _, part := range []string{day, "us-east-1", "s3", "aws4_request", all["policy"]} {
		key = sign(key, part)
	}
	all["x-amz-signature"] = hex.EncodeToString(key)
	var b strings.Builder
	for name, value := range all {
		fmt.Fprintf(&b, "--xyz\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", name, value)
	}
	fmt.Fprintf(&b, "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n%s\r\n--xyz--\r\n",
		content)
	return request{method: "POST", path: "/uploads", unsigned: true, body: b.String(),
		header: headers{"Content-Type": "multipart/form-data; boundary=xyz"}}
}

func TestFormUpload(t *testing.T) {
	t.Parallel()
	srv := start(t)
	send := func(content string, cut int) int {
		t.Helper()
		return srv.form(t, "uploads/form.csv", content, cut).status
	}
	for _, cut := range []int{1, 3, 10, 40, 64, 70, 90, 95, 100, 130, 200} {
		if got := send("person,flavor\nandy,vanilla\n", cut); got != 400 {
			t.Errorf("a form without its last %d bytes: status %d, want 400", cut, got)
		}
	}
	srv.checkNothingAnnounced(t, 0)
	if got := send("person,flavor\nandy,vanilla\n", 0); got != 204 {
		t.Fatalf("status %d, want 204", got)
	}
	if got := srv.last(t, "uploads/form.csv").Size; got != 27 {
		t.Errorf("announced size %d, want 27", got)
	}
	srv.checkScan(t)
}

// TestFormFilename checks that the variable ${filename} is replaced in all fields, before the policy is applied.
func TestFormFilename(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for filename, want := range map[string]string{
		"a.csv": "a.csv", `C:\Users\me\a.csv`: "a.csv", "/home/me/b c.csv": "b c.csv", `dir/sub\x.csv`: "x.csv",
		"grün.csv": "grün.csv", "50%.csv": "50%.csv",
		"${filename}": "${filename}", "a'b.csv": "a'b.csv",
	} {
		r := form(t, headers{"key": "uploads/${filename}", "x-amz-meta-name": "${filename}/${filename}"}, time.Now(),
			filename)
		r.body = strings.Replace(r.body, `filename="f"`, `filename="`+filename+`"`, 1)
		if got := srv.send(t, r); got.status != 204 {
			t.Errorf("filename %q: %s %s, want 204", filename, got, got.body)
			continue
		}
		srv.checkContent(t, "uploads/"+want, filename)
		head, err := srv.head(t, "uploads/"+want)
		if ascii := want != "grün.csv"; err != nil || ascii && head.Metadata["name"] != want+"/"+want {
			t.Errorf("%q: metadata %v, %v; want the filename twice", filename, head, err)
		}
	}
	before := len(srv.all())
	for filename, want := range map[string]int{"": 400, "..": 400, "a/..": 400, "a/": 400, ".sgwtmp": 400,
		strings.Repeat("a", 256): 400, "\xff.csv": 400, "a\x01b": 400} {
		r := form(t, headers{"key": "uploads/${filename}"}, time.Now(), "data")
		r.body = strings.Replace(r.body, `filename="f"`, `filename="`+filename+`"`, 1)
		if got := srv.send(t, r); got.status != want {
			t.Errorf("%q: %s, want %d", filename, got, want)
		}
	}
	srv.checkNothingAnnounced(t, before)
	r := form(t, headers{"key": "uploads/${filename}", "success_action_status": "201"}, time.Now(), "x")
	if got := srv.send(t, r); got.status != 201 || !strings.Contains(got.body, "<Key>uploads/f</Key>") {
		t.Errorf("success_action_status: %s %s, want 201 with the key", got, got.body)
	}
}

// form uploads a form like a browser, without its last cut bytes.
func (srv *testServer) form(t *testing.T, key, content string, cut int) answer {
	t.Helper()
	signed, err := s3.NewPresignClient(srv.s3).PresignPostObject(t.Context(),
		&s3.PutObjectInput{Bucket: uploads, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for name, value := range signed.Values {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	file, err := w.CreateFormFile("file", "form.csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(file, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	form.Truncate(form.Len() - cut)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, signed.URL, &form)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	return do(t, req)
}

// TestFormNotations tests notations that RFC 2046 and browsers allow. Only the file is stored.
func TestFormNotations(t *testing.T) {
	t.Parallel()
	srv := start(t)
	const end = "\r\n--xyz--\r\n"
	field := func(name, value string) string {
		return "\r\n--xyz\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value
	}
	for name, test := range map[string]struct {
		change func(body string) string
		status int
	}{
		"a submit button": {func(b string) string { return strings.TrimSuffix(b, end) + field("submit", "Upload") + end },
			204},
		"several fields": {func(b string) string {
			return strings.TrimSuffix(b, end) + field("a", "1") + field("key", "other") + field("b", "2") + end
		}, 204},
		"a field with a long value": {func(b string) string {
			return strings.TrimSuffix(b, end) + field("a", strings.Repeat("a\r\n", 10_000)) + end
		}, 204},
		"a second file": {func(b string) string {
			return strings.TrimSuffix(b, end) + field("file\"; filename=\"g", "second") + end
		}, 400},
		"a second file of other case": {func(b string) string {
			return strings.TrimSuffix(b, end) + field("File", "second") + end
		}, 400},
		"no line end at the end": {func(b string) string { return strings.TrimSuffix(b, "\r\n") }, 204},
		"a preamble":             {func(b string) string { return "This is a form.\r\n\r\n" + b }, 204},
		"an epilogue":            {func(b string) string { return b + "This was a form.\r\n" }, 204},
		"space behind boundaries": {func(b string) string {
			return strings.ReplaceAll(b, "--xyz\r\n", "--xyz \t\r\n")
		}, 204},
		"space behind the last one": {func(b string) string { return strings.TrimSuffix(b, "\r\n") + " \r\n" }, 204},
		"other headers": {func(b string) string {
			return strings.ReplaceAll(b, "Content-Disposition", "Content-Type: text/plain\r\ncontent-disposition")
		}, 204},
		"no end": {func(b string) string { return strings.TrimSuffix(b, end) }, 400},
		"no end after a field": {func(b string) string {
			return strings.TrimSuffix(b, end) + field("submit", "Upload")
		}, 400},
		"no end but another delimiter": {func(b string) string { return strings.TrimSuffix(b, "--\r\n") + "\r\n" }, 400},
		"too much behind the file": {func(b string) string {
			return strings.TrimSuffix(b, end) + field("a", strings.Repeat("a", 200_000)) + end
		}, 400},
		"no file": {func(b string) string {
			return b[:strings.Index(b, "--xyz\r\nContent-Disposition: form-data; name=\"file\"")] + "--xyz--\r\n"
		}, 400},
	} {
		for _, content := range []string{"person,flavor\r\nandy,vanilla\r\n", "", "\r\n--xy\r\n", "\r\n--xyzz\r\n"} {
			r := form(t, headers{"key": "uploads/form.csv"}, time.Now(), content)
			r.body = test.change(r.body)
			before := len(srv.all())
			got := srv.send(t, r)
			if got.status != test.status {
				t.Errorf("%s: %s %s, want %d", name, got, got.body, test.status)
			}
			if announced := len(srv.all()) > before; announced != (test.status == 204) {
				t.Errorf("%s: announced = %t, want %t", name, announced, !announced)
			}
			if test.status == 204 {
				if stored := srv.get(t, "uploads/form.csv"); stored != content {
					t.Errorf("%s: stored %q, want %q", name, stored, content)
				}
			}
		}
	}
	// The form of a folder marker may have fields after the empty file.
	r := form(t, headers{"key": "uploads/folder/"}, time.Now(), "")
	r.body = strings.TrimSuffix(r.body, end) + field("submit", "Upload") + end
	if got := srv.send(t, r); got.status != 204 {
		t.Errorf("a marker: %s %s, want 204", got, got.body)
	}
}

// TestFormFileSize checks that content-length-range applies to the file without the fields after it.
func TestFormFileSize(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for size, want := range map[int]int{9: 400, 10: 204, 20: 204, 21: 400, 5000: 400} {
		for _, behind := range []string{"", "\r\n--xyz\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\n" +
			strings.Repeat("x", 50)} {
			r := formFor(t, headers{"key": "uploads/form.csv"}, time.Now(), strings.Repeat("a", size),
				[]any{"content-length-range", 10, 20})
			r.body = strings.TrimSuffix(r.body, "\r\n--xyz--\r\n") + behind + "\r\n--xyz--\r\n"
			if got := srv.send(t, r); got.status != want || want == 400 && !strings.HasPrefix(got.code, "EntityToo") {
				t.Errorf("%d bytes, %d behind them: %s, want %d", size, len(behind), got, want)
			}
		}
	}
}
