package gateway_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
)

func TestAFormUploadIsAnnounced(t *testing.T) {
	t.Parallel()
	e := start(t)
	send := func(content string, cut int) int {
		t.Helper()
		resp := e.form(t, "uploads/form.csv", content, cut)
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, cut := range []int{1, 2, 10, 40, 64, 70, 90, 95, 100, 130, 200} {
		if got := send("person,flavor\nandy,vanilla\n", cut); got != 400 {
			t.Errorf("a form without its last %d bytes: status %d, want 400", cut, got)
		}
	}
	if got := e.keys(); len(got) != 0 {
		t.Errorf("announced %v, want nothing", got)
	}
	if got := send("person,flavor\nandy,vanilla\n", 0); got != 204 {
		t.Fatalf("status %d, want 204", got)
	}
	if got := e.last(t, "uploads/form.csv").Size; got != 27 {
		t.Errorf("announced size %d, want 27", got)
	}
	if diff := cmp.Diff(e.announced(), e.objects(t)); diff != "" {
		t.Errorf("rescan (-announced +found):\n%s", diff)
	}
}

// TestFilenames replace their variable in all fields, before the policy is applied.
func TestFilenames(t *testing.T) {
	t.Parallel()
	e := start(t)
	for filename, want := range map[string]string{
		"a.csv": "a.csv", `C:\Users\me\a.csv`: "a.csv", "/home/me/b c.csv": "b c.csv", `dir/sub\x.csv`: "x.csv", "grün.csv": "grün.csv", "50%.csv": "50%.csv",
		"${filename}": "${filename}", "a'b.csv": "a'b.csv",
	} {
		r := form(t, map[string]string{"key": "uploads/${filename}", "x-amz-meta-name": "${filename}/${filename}"}, time.Now(), filename)
		r.body = strings.Replace(r.body, `filename="f"`, `filename="`+filename+`"`, 1)
		if got := e.ask(t, r); got.status != 204 {
			t.Errorf("%q: %s %s", filename, got, got.body)
			continue
		}
		if got := e.get(t, "uploads/"+want); got != filename {
			t.Errorf("%q is stored as %q", filename, got)
		}
		head, err := e.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("uploads/" + want)})
		if ascii := want != "grün.csv"; err != nil || ascii && head.Metadata["name"] != want+"/"+want {
			t.Errorf("%q: metadata %v, %v", filename, head, err)
		}
	}
	before := len(e.all())
	for filename, want := range map[string]int{"": 400, "..": 400, "a/..": 400, "a/": 400, ".sgwtmp": 400, strings.Repeat("a", 256): 400, "\xff.csv": 400, "a\x01b": 400} {
		r := form(t, map[string]string{"key": "uploads/${filename}"}, time.Now(), "data")
		r.body = strings.Replace(r.body, `filename="f"`, `filename="`+filename+`"`, 1)
		if got := e.ask(t, r); got.status != want {
			t.Errorf("%q: %s, want %d", filename, got, want)
		}
	}
	if got := e.all()[before:]; len(got) > 0 {
		t.Errorf("announced: %v", got)
	}
	r := form(t, map[string]string{"key": "uploads/${filename}", "success_action_status": "201"}, time.Now(), "x")
	if got := e.ask(t, r); got.status != 201 || !strings.Contains(got.body, "<Key>uploads/f</Key>") {
		t.Errorf("201: %s %s", got, got.body)
	}
}

// form uploads as a browser does, without the last bytes.
func (e *env) form(t *testing.T, key, content string, cut int) *http.Response {
	t.Helper()
	signed, err := s3.NewPresignClient(e.s3).PresignPostObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key})
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
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}
