package local_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
)

const plenty = 1 << 40 // bytes

var discard = slog.New(slog.DiscardHandler)

// soon is how long a test waits for what must happen.
const soon = 3 * time.Minute

// house is a running one with a clock and a disk of its own, and what a test does to it.
type house struct {
	*local.Server
	t      *testing.T
	cfg    local.Config
	later  atomic.Int64 // how far its clock is ahead
	disk   atomic.Int64 // bytes that are free
	lucky  atomic.Int64 // so many looks at the disk find plenty all the same
	low    atomic.Int64 // looks that did not
	broken bool         // by the test: how it stops is of no interest then
}

func start(t *testing.T, change ...func(*local.Config)) *house {
	t.Helper()
	h := &house{t: t, cfg: local.Config{Dir: filepath.Join(t.TempDir(), "data"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	h.cfg.Limits.Pause = time.Millisecond
	h.disk.Store(plenty)
	h.cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(h.later.Load())) }
	h.cfg.Limits.FreeDisk = func(string) (int64, error) {
		if h.lucky.Add(-1) >= 0 {
			return plenty, nil
		}
		if h.disk.Load() < plenty {
			h.low.Add(1)
		}
		return h.disk.Load(), nil
	}
	for _, c := range change {
		c(&h.cfg)
	}
	h.start()
	return h
}

func (h *house) start() {
	h.t.Helper()
	s, err := local.Start(h.t.Context(), h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Server = s
	h.t.Cleanup(h.stop)
}

func (h *house) stop() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	err := h.Stop(ctx)
	if h.broken {
		return
	}
	if err != nil {
		h.t.Errorf("Stop: %v", err)
	}
	select {
	case err := <-h.Failed():
		h.t.Errorf("a part failed: %v", err)
	default:
	}
}

// forward sets its clock forward.
func (h *house) forward(d time.Duration) { h.later.Add(int64(d)) }

// fill lets only so much of the disk be left, once it was looked at so often. Nothing else looks at it then.
func (h *house) fill(looks, left int64) {
	h.t.Helper()
	<-h.Reconciled() // or a file may be handed over twice
	h.allAnnounced()
	h.lucky.Store(looks)
	h.disk.Store(left)
}

func (h *house) allAnnounced() {
	h.t.Helper()
	await(h.t, "all changes are announced", func() bool {
		n, err := h.Unannounced(h.t.Context())
		return err == nil && n == 0
	})
}

// sql does something to the file of its table, behind its back.
func (h *house) sql(statement string) {
	h.t.Helper()
	db, err := sqlite.OpenConn(filepath.Join(h.cfg.Dir, "flavorless.db"), sqlite.OpenReadWrite)
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	db.SetBusyTimeout(soon)
	if err := sqlitex.ExecuteTransient(db, statement, nil); err != nil {
		h.t.Fatal(err)
	}
}

// tryPut uploads a file.
func (h *house) tryPut(name, text string) error {
	h.t.Helper()
	_, err := h.S3().PutObject(h.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(h.Info().Bucket), Key: aws.String("uploads/" + name), Body: strings.NewReader(text),
	})
	return err
}

func (h *house) put(name, text string) {
	h.t.Helper()
	if err := h.tryPut(name, text); err != nil {
		h.t.Fatal(err)
	}
}

// upload uploads a file, and gives the upload's id once it has one.
func (h *house) upload(name, text string) (id string) {
	h.t.Helper()
	h.put(name, text)
	await(h.t, "a record of "+name, func() bool {
		for _, u := range h.uploads() {
			if u.Key == "uploads/"+name {
				id = u.ID
			}
		}
		return id != ""
	})
	return id
}

// object reads an object; it is empty if there is none.
func (h *house) object(bucket, key string) string {
	h.t.Helper()
	out, err := h.S3().GetObject(h.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if code(err) == "NoSuchKey" {
		return ""
	}
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

// code is that of an error of S3.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// uploads lists them, the newest first.
func (h *house) uploads() []events.Upload {
	h.t.Helper()
	list, err := h.Uploads(h.t.Context(), "", 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return list
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

// allSettled waits until so many uploads are settled and no message is left.
func (h *house) allSettled(n int) (list []events.Upload) {
	h.t.Helper()
	await(h.t, "the end of all uploads", func() bool {
		list = h.uploads()
		for _, u := range list {
			if !u.Status.Settled() {
				return false
			}
		}
		waiting, _, err := h.Waiting(h.t.Context())
		return err == nil && waiting == 0 && len(list) >= n
	})
	if len(list) != n {
		h.t.Fatalf("%d uploads, want %d", len(list), n)
	}
	return list
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
	return h.get(route, "Authorization", "Bearer "+h.token())
}

func (h *house) token() string {
	h.t.Helper()
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(h.cfg.Dir)})
	if err != nil {
		h.t.Fatal(err)
	}
	token, err := is.Sign(issuer.Grant{Subject: "test", Audience: h.Info().Audience, TTL: time.Hour})
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// await looks until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for deadline := time.After(soon); !holds(); {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("after %s there is still not %s", soon, what)
		}
	}
}
