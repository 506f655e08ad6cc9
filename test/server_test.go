package test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/internal/testutil/program"
)

// testServer is the server that `flavorless serve` starts, inside of the test's process.
type testServer struct {
	*local.Server
	t      testing.TB
	config local.Config
	token  string
}

func startServer(t testing.TB, change ...func(*local.Config)) *testServer {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := &testServer{t: t, config: local.Config{Dir: filepath.Join(t.TempDir(), "data"), Log: log}}
	for _, f := range change {
		f(&s.config)
	}
	s.start()
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	var err error
	if s.token, err = program.Token(s.config.Dir, s.Info()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *testServer) start() {
	s.t.Helper()
	var err error
	if s.Server, err = local.Start(s.t.Context(), s.config); err != nil {
		s.t.Fatal(err)
	}
}

// restart stops the server and starts it again on the same folder.
func (s *testServer) restart() {
	s.t.Helper()
	if err := s.Stop(context.WithoutCancel(s.t.Context())); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

func (s *testServer) put(key string, body []byte, metadata map[string]string) {
	s.t.Helper()
	_, err := s.S3().PutObject(s.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(s.Info().Bucket), Key: aws.String(key), Body: bytes.NewReader(body), Metadata: metadata,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *testServer) get(route string) (status int, body []byte) {
	s.t.Helper()
	return get(s.t, s.Info().API+route, s.token)
}

// settled waits until the newest upload of a key is settled, and checks that its row counts add up.
func (s *testServer) settled(key string) (settled events.Upload) {
	s.t.Helper()
	testutil.WaitFor(s.t, key+" to be settled", func() bool {
		for _, u := range s.uploads() {
			if u.Key == key {
				settled = u
				return u.Status.Settled()
			}
		}
		return false
	})
	checkCounts(s.t, settled)
	return settled
}

// uploads returns the newest 500 uploads.
func (s *testServer) uploads() []events.Upload {
	s.t.Helper()
	var page struct {
		Uploads []events.Upload `json:"uploads"`
	}
	if status, body := s.get("/uploads?limit=500"); status != http.StatusOK || json.Unmarshal(body, &page) != nil {
		s.t.Fatalf("GET /uploads: status %d: %s", status, body)
	}
	return page.Uploads
}

// compress compresses a text as a suffix says: ".gz", ".zst" or "" for none.
func compress(t *testing.T, text []byte, suffix string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch suffix {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return text
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
