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
type testServer struct {
	*local.Server
	t      *testing.T
	cfg    local.Config
	later  atomic.Int64 // how far its clock is ahead
	disk   atomic.Int64 // bytes that are free
	lucky  atomic.Int64 // so many looks at the disk find plenty all the same
	low    atomic.Int64 // looks that did not
	broken bool         // by the test: how it stops is of no interest then
}

func start(t *testing.T, change ...func(*local.Config)) *testServer {
	t.Helper()
	s := &testServer{t: t, cfg: local.Config{Dir: filepath.Join(t.TempDir(), "data"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	s.cfg.Limits.RetryInterval = time.Millisecond
	s.disk.Store(plenty)
	s.cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(s.later.Load())) }
	s.cfg.Limits.FreeDisk = func(string) (int64, error) {
		if s.lucky.Add(-1) >= 0 {
			return plenty, nil
		}
		if s.disk.Load() < plenty {
			s.low.Add(1)
		}
		return s.disk.Load(), nil
	}
	for _, c := range change {
		c(&s.cfg)
	}
	s.start()
	return s
}

func (s *testServer) start() {
	s.t.Helper()
	server, err := local.Start(s.t.Context(), s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server = server
	s.t.Cleanup(s.stop)
}

func (s *testServer) stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	err := s.Stop(ctx)
	if s.broken {
		return
	}
	if err != nil {
		s.t.Errorf("Stop: %v", err)
	}
	if err := s.Err(); err != nil {
		s.t.Errorf("a part of the server failed: %v", err)
	}
}

// forward sets its clock forward.
func (s *testServer) forward(d time.Duration) { s.later.Add(int64(d)) }

// fill lets only so much of the disk be left, once it was looked at so often. Nothing else looks at it then.
func (s *testServer) fill(looks, left int64) {
	s.t.Helper()
	<-s.Reconciled() // or a file may be handed over twice
	s.allAnnounced()
	s.lucky.Store(looks)
	s.disk.Store(left)
}

func (s *testServer) allAnnounced() {
	s.t.Helper()
	await(s.t, "all changes are announced", func() bool {
		waiting, err := s.HasUnannounced(s.t.Context())
		return err == nil && !waiting
	})
}

// sql does something to the file of its table, behind its back.
func (s *testServer) sql(statement string) {
	s.t.Helper()
	db, err := sqlite.OpenConn(filepath.Join(s.cfg.Dir, "flavorless.db"), sqlite.OpenReadWrite)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	db.SetBusyTimeout(soon)
	if err := sqlitex.ExecuteTransient(db, statement, nil); err != nil {
		s.t.Fatal(err)
	}
}

// tryPut uploads a file.
func (s *testServer) tryPut(name, text string) error {
	s.t.Helper()
	_, err := s.S3().PutObject(s.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(s.Info().Bucket), Key: aws.String("uploads/" + name), Body: strings.NewReader(text),
	})
	return err
}

func (s *testServer) put(name, text string) {
	s.t.Helper()
	if err := s.tryPut(name, text); err != nil {
		s.t.Fatal(err)
	}
}

// upload uploads a file, and gives the upload's id once it has one.
func (s *testServer) upload(name, text string) (id string) {
	s.t.Helper()
	s.put(name, text)
	await(s.t, "a record of "+name, func() bool {
		for _, u := range s.uploads() {
			if u.Key == "uploads/"+name {
				id = u.ID
			}
		}
		return id != ""
	})
	return id
}

// object reads an object; it is empty if there is none.
func (s *testServer) object(bucket, key string) string {
	s.t.Helper()
	out, err := s.S3().GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if code(err) == "NoSuchKey" {
		return ""
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		s.t.Fatal(err)
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
func (s *testServer) uploads() []events.Upload {
	s.t.Helper()
	list, err := s.Uploads(s.t.Context(), "", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// settled waits for the end of an upload.
func (s *testServer) settled(id string) (settled events.Upload) {
	s.t.Helper()
	await(s.t, "the end of upload "+id, func() bool {
		for _, u := range s.uploads() {
			if u.ID == id {
				settled = u
			}
		}
		return settled.Status.Settled()
	})
	return settled
}

// allSettled waits until so many uploads are settled and no message is left.
func (s *testServer) allSettled(n int) (list []events.Upload) {
	s.t.Helper()
	await(s.t, "the end of all uploads", func() bool {
		list = s.uploads()
		for _, u := range list {
			if !u.Status.Settled() {
				return false
			}
		}
		waiting, _, err := s.Depth(s.t.Context())
		return err == nil && waiting == 0 && len(list) >= n
	})
	if len(list) != n {
		s.t.Fatalf("%d uploads, want %d", len(list), n)
	}
	return list
}

// get asks for a URL, or for a route of the API; headers are pairs of name and value.
func (s *testServer) get(target string, headers ...string) (status int, body string) {
	s.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = s.Info().API + target
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for n := 0; n < len(headers); n += 2 {
		req.Header.Set(headers[n], headers[n+1])
	}
	req.Host = req.Header.Get("Host")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(all)
}

// read asks with a good token.
func (s *testServer) read(route string) (status int, body string) {
	s.t.Helper()
	return s.get(route, "Authorization", "Bearer "+s.token())
}

func (s *testServer) token() string {
	s.t.Helper()
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(s.cfg.Dir)})
	if err != nil {
		s.t.Fatal(err)
	}
	token, err := is.Sign(issuer.Grant{Subject: "test", Audience: s.Info().Audience, TTL: time.Hour})
	if err != nil {
		s.t.Fatal(err)
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
