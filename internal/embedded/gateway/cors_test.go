package gateway_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

const page = "http://localhost:5173"

// browse sends a request as a browser does for a page of an origin. Headers are name and value in turn.
func browse(t *testing.T, method, url, origin, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", origin)
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res
}

// checkCORS checks that pages of the origin, and only those, may read the answer and its ETag; "" is no origin.
func checkCORS(t *testing.T, res *http.Response, origin string) {
	t.Helper()
	if got := res.Header.Get("Access-Control-Allow-Origin"); got != origin {
		t.Errorf("Access-Control-Allow-Origin = %q, want %q", got, origin)
	}
	exposed := slices.Contains(strings.Split(res.Header.Get("Access-Control-Expose-Headers"), ", "), "ETag")
	if exposed != (origin != "") {
		t.Errorf("Access-Control-Expose-Headers = %q, want ETag only for allowed origins",
			res.Header.Get("Access-Control-Expose-Headers"))
	}
	if got := res.Header.Get("Access-Control-Allow-Credentials"); got != "" {
		t.Errorf("Access-Control-Allow-Credentials = %q, want none", got)
	}
}

// TestCORSUpload checks that only pages of allowed origins may read answers and errors.
func TestCORSUpload(t *testing.T) {
	t.Parallel()
	srv := start(t, func(c *gateway.Config) { c.Origins = []string{"https://flavors.example", page} })
	const key = "uploads/page.csv"
	signed, err := s3.NewPresignClient(srv.s3).PresignPutObject(t.Context(), &s3.PutObjectInput{
		Bucket: uploads, Key: aws.String(key), ContentType: aws.String("text/csv"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := []string{"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers",
		"content-type,x-amz-meta-on-error"}

	res := browse(t, http.MethodOptions, signed.URL, page, "", ask...)
	checkCORS(t, res, page)
	if res.StatusCode != http.StatusNoContent || !strings.Contains(res.Header.Get("Access-Control-Allow-Methods"),
		"PUT") ||
		res.Header.Get("Access-Control-Allow-Headers") != "content-type,x-amz-meta-on-error" {
		t.Errorf("preflight: %s %v, want 204 that allows PUT and the headers", res.Status, res.Header)
	}
	res = browse(t, http.MethodPut, signed.URL, page, "person,flavor\nandy,mint\n", "Content-Type", "text/csv")
	checkCORS(t, res, page)
	if res.StatusCode != http.StatusOK || res.Header.Get("ETag") == "" {
		t.Errorf("PUT: %s %v, want 200 with an ETag", res.Status, res.Header)
	}
	if got := srv.keys(); !slices.Equal(got, []string{key}) {
		t.Errorf("announced %v, want %s", got, key)
	}

	object := "http://" + srv.Addr() + "/uploads/" + key
	unsigned := strings.Replace(signed.URL, "Signature=", "Signature=0", 1)
	for name, c := range map[string]struct {
		method, url, origin, want string
		status                    int
	}{
		"bad signature": {http.MethodPut, unsigned, page, page, http.StatusForbidden},
		"no signature": {http.MethodGet, object, "https://flavors.example", "https://flavors.example",
			http.StatusForbidden},
		"no operation":       {http.MethodPatch, "http://" + srv.Addr() + "/" + bucket, page, page, http.StatusForbidden},
		"another origin":     {http.MethodPut, signed.URL, "https://evil.example", "", http.StatusOK},
		"another port":       {http.MethodPut, signed.URL, "http://localhost:5174", "", http.StatusOK},
		"a longer name":      {http.MethodPut, signed.URL, page + ".evil.example", "", http.StatusOK},
		"no origin at all":   {http.MethodPut, signed.URL, "", "", http.StatusOK},
		"origin null":        {http.MethodPut, signed.URL, "null", "", http.StatusOK},
		"another, preflight": {http.MethodOptions, signed.URL, "https://evil.example", "", http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{"Content-Type", "text/csv"}
			if c.method == http.MethodOptions {
				headers = ask
			}
			res := browse(t, c.method, c.url, c.origin, "person,flavor\nandy,mint\n", headers...)
			checkCORS(t, res, c.want)
			if res.StatusCode != c.status {
				t.Errorf("status %d, want %d", res.StatusCode, c.status)
			}
			if !slices.Contains(res.Header.Values("Vary"), "Origin") {
				t.Errorf("Vary = %q, want Origin among them", res.Header.Values("Vary"))
			}
		})
	}
}

// TestCORSIsOffByDefault checks that no page may read anything without Config.Origins.
func TestCORSIsOffByDefault(t *testing.T) {
	t.Parallel()
	srv := start(t)
	for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodPut} {
		res := browse(t, method, "http://"+srv.Addr()+"/uploads/uploads/a.csv", page, "", "Access-Control-Request-Method",
			"PUT")
		checkCORS(t, res, "")
	}
}
