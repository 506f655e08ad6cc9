package gateway_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"testing"

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
	if got := send("person,flavor\nandy,vanilla\n", 90); got < 400 {
		t.Errorf("a form without its end: status %d, want an error", got)
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
