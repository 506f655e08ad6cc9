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
	"github.com/flavorless/flavorless/internal/testutil"
)

const plenty = 1 << 40 // bytes of free disk space

var discard = slog.New(slog.DiscardHandler)

// testServer is a running server with a clock and a disk that the test controls.
type testServer struct {
	*local.Server
	t      *testing.T
	cfg    local.Config
	ahead  atomic.Int64 // of its clock, in nanoseconds
	disk   atomic.Int64 // free bytes
	spare  atomic.Int64 // number of next reads of the free bytes that return plenty
	low    atomic.Int64 // number of reads that returned less
	broken bool         // the test has broken it, so it may fail to stop
}

func start(t *testing.T, change ...func(*local.Config)) *testServer {
	t.Helper()
	s := &testServer{t: t, cfg: local.Config{
		Dir: filepath.Join(t.TempDir(), "data"), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
	s.cfg.Limits.RetryInterval = time.Millisecond
	s.disk.Store(plenty)
	s.cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.cfg.Limits.FreeDisk = func(string) (int64, error) {
		if s.spare.Add(-1) >= 0 {
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
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Timeout)
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

// forward sets the clock forward.
func (s *testServer) forward(d time.Duration) { s.ahead.Add(int64(d)) }

// fill sets the free bytes that are returned after the next reads. It first waits until no background work reads them.
func (s *testServer) fill(reads, free int64) {
	s.t.Helper()
	<-s.Reconciled() // otherwise the event of an upload may be published twice
	s.awaitAnnounced()
	s.spare.Store(reads)
	s.disk.Store(free)
}

func (s *testServer) awaitAnnounced() {
	s.t.Helper()
	testutil.WaitFor(s.t, "all changes are announced", func() bool {
		waiting, err := s.HasUnannounced(s.t.Context())
		return err == nil && !waiting
	})
}

// sql executes a statement in the database file, next to the server.
func (s *testServer) sql(statement string) {
	s.t.Helper()
	db, err := sqlite.OpenConn(filepath.Join(s.cfg.Dir, "flavorless.db"), sqlite.OpenReadWrite)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	db.SetBusyTimeout(testutil.Timeout)
	if err := sqlitex.ExecuteTransient(db, statement, nil); err != nil {
		s.t.Fatal(err)
	}
}

// tryPut stores a file.
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

// upload stores a file and returns the id of its upload, once the ledger has it.
func (s *testServer) upload(name, text string) (id string) {
	s.t.Helper()
	s.put(name, text)
	testutil.WaitFor(s.t, "a record of "+name, func() bool {
		for _, u := range s.uploads() {
			if u.Key == "uploads/"+name {
				id = u.ID
			}
		}
		return id != ""
	})
	return id
}

// publishMalformed publishes the event of an object without a valid sequencer, which becomes a dead letter at once.
func (s *testServer) publishMalformed() (id string) {
	s.t.Helper()
	o := events.Object{Bucket: "b", Key: "uploads/bad.csv", ETag: "e", Sequencer: "none", Time: time.Now()}
	if err := s.PublishEvent(s.t.Context(), o); err != nil {
		s.t.Fatal(err)
	}
	return o.UploadID()
}

// object returns the content of an object, or "" if there is none.
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

// code returns the code of an error of S3, or "".
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// uploads returns all uploads, the newest first.
func (s *testServer) uploads() []events.Upload {
	s.t.Helper()
	list, err := s.Uploads(s.t.Context(), "", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// settled waits until an upload is settled and returns it.
func (s *testServer) settled(id string) (settled events.Upload) {
	s.t.Helper()
	testutil.WaitFor(s.t, "upload "+id+" to be settled", func() bool {
		for _, u := range s.uploads() {
			if u.ID == id {
				settled = u
			}
		}
		return settled.Status.Settled()
	})
	return settled
}

// allSettled waits until n uploads are settled and the queues are empty, and returns all uploads.
func (s *testServer) allSettled(n int) (list []events.Upload) {
	s.t.Helper()
	testutil.WaitFor(s.t, "all uploads to be settled", func() bool {
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
		s.t.Fatalf("there are %d uploads, want %d", len(list), n)
	}
	return list
}

// get requests a URL, or a path of the API. The headers are pairs of name and value.
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

// read requests a path of the API with a valid token.
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
