package local_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
)

// house is a running one, and what a test does to it.
type house struct {
	*local.Server
	t     *testing.T
	token string
}

func startHouse(t *testing.T, change func(*local.Config)) *house {
	t.Helper()
	c := local.Config{Dir: filepath.Join(t.TempDir(), "data"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if change != nil {
		change(&c)
	}
	h := &house{t: t}
	var err error
	if h.Server, err = local.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Stop(context.WithoutCancel(t.Context())) })
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(c.Dir)})
	if err == nil {
		h.token, err = is.Sign(issuer.Grant{Subject: "test", Audience: h.Info().Audience, TTL: time.Hour})
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// put uploads a file, and gives the upload's id once it has one.
func (h *house) put(name, text string) (id string) {
	h.t.Helper()
	key := "uploads/" + name
	_, err := h.S3().PutObject(h.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(h.Info().Bucket), Key: &key, Body: strings.NewReader(text),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	await(h.t, "a record of "+key, func() bool {
		for _, u := range h.uploads() {
			if u.Key == key {
				id = u.ID
			}
		}
		return id != ""
	})
	return id
}

func (h *house) uploads() []events.Upload {
	h.t.Helper()
	uploads, err := h.Uploads(h.t.Context(), "", 100)
	if err != nil {
		h.t.Fatal(err)
	}
	return uploads
}

// settled waits for the end of an upload.
func (h *house) settled(id string) (settled events.Upload) {
	h.t.Helper()
	await(h.t, "the end of upload "+id, func() bool {
		for _, u := range h.uploads() {
			if u.ID == id {
				settled = u
			}
		}
		return settled.Status.Settled()
	})
	return settled
}

// get asks for a URL, or for a route of the API; headers are pairs of name and value.
func (h *house) get(target string, headers ...string) (status int, body string) {
	h.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = h.Info().API + target
	}
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, target, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for n := 0; n < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	req.Host = req.Header.Get("Host")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, string(all)
}

// read asks with a good token.
func (h *house) read(route string) (status int, body string) {
	h.t.Helper()
	return h.get(route, "Authorization", "Bearer "+h.token)
}

// await looks until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for deadline := time.After(time.Minute); !holds(); {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("after a minute there is still not %s", what)
		}
	}
}
