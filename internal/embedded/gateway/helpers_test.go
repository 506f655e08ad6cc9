package gateway_test

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/testutil"
)

const bucket = "uploads"

var uploads = aws.String(bucket)

// headers are the headers of a request, or the fields of a form.
type headers = map[string]string

// recorder records what was announced. Its OnStored returns the error fail.
type recorder struct {
	mu   sync.Mutex
	seen []events.Object
	fail error
}

func (r *recorder) stored(_ context.Context, o events.Object) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, o)
	return r.fail
}

func (r *recorder) failWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *recorder) all() []events.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// last returns the latest announcement of a key.
func (r *recorder) last(t *testing.T, key string) events.Object {
	t.Helper()
	for _, o := range slices.Backward(r.all()) {
		if o.Key == key {
			return o
		}
	}
	t.Fatalf("%q was not announced, want an announcement", key)
	return events.Object{}
}

func (r *recorder) keys() []string {
	var keys []string
	for _, o := range r.all() {
		keys = append(keys, o.Key)
	}
	return keys
}

type testServer struct {
	*gateway.Gateway
	*recorder
	cfg gateway.Config
	s3  *s3.Client
}

// config returns a configuration with a new directory that announces the prefix uploads/ of the bucket uploads.
func config(t testing.TB, r *recorder) gateway.Config {
	t.Helper()
	return gateway.Config{
		Dir: t.TempDir(), AccessKey: "local", SecretKey: "local-secret", NoSync: true,
		Buckets: []string{bucket, "reports"}, Bucket: bucket, Prefix: "uploads/",
		OnStored: r.stored, Logger: slog.New(slog.DiscardHandler),
	}
}

func start(t testing.TB, change ...func(*gateway.Config)) *testServer {
	t.Helper()
	r := &recorder{}
	cfg := config(t, r)
	for _, c := range change {
		c(&cfg)
	}
	return open(t, cfg, r)
}

func open(t testing.TB, cfg gateway.Config, r *recorder) *testServer {
	t.Helper()
	g, err := gateway.Start(cfg)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { stop(t, g) })
	return &testServer{Gateway: g, recorder: r, cfg: cfg, s3: client(g.Addr(), cfg.SecretKey)}
}

func stop(t testing.TB, g *gateway.Gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Timeout)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// objects returns what Objects yields, by key.
func (srv *testServer) objects(t *testing.T) map[string]events.Object {
	t.Helper()
	found := map[string]events.Object{}
	err := srv.Objects(t.Context(), func(o events.Object) error {
		if _, twice := found[o.Key]; twice {
			t.Errorf("Objects yields %q twice, want once", o.Key)
		}
		found[o.Key] = o
		return nil
	})
	if err != nil {
		t.Fatalf("Objects: %v", err)
	}
	return found
}

// announced returns the latest announcement of each key.
func (r *recorder) announced() map[string]events.Object {
	last := map[string]events.Object{}
	for _, o := range r.all() {
		if o.Sequencer >= last[o.Key].Sequencer {
			last[o.Key] = o
		}
	}
	return last
}

// staged returns the staged files of unfinished uploads.
func (srv *testServer) staged(t *testing.T) (left []string) {
	t.Helper()
	for _, b := range []string{bucket, "reports"} {
		err := filepath.WalkDir(filepath.Join(srv.cfg.Dir, "objects", b, ".sgwtmp"),
			func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					left = append(left, path)
				}
				return nil
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	return left
}

// checkNothingStored checks that refused uploads have left nothing.
func (srv *testServer) checkNothingStored(t *testing.T) {
	t.Helper()
	if got := srv.staged(t); len(got) > 0 {
		t.Errorf("staged files: %v, want none", got)
	}
	srv.checkNothingAnnounced(t, 0)
	if got := srv.objects(t); len(got) > 0 {
		t.Errorf("stored: %v, want nothing", got)
	}
}

func mkdir(t *testing.T, elem ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(elem...), 0o755); err != nil {
		t.Fatal(err)
	}
}

// withSidecar makes a gateway store metadata beside the objects.
func withSidecar(c *gateway.Config) { _ = os.Mkdir(filepath.Join(c.Dir, "metadata"), 0o700) }

// checkScan compares the latest announcement of each key with what Objects finds.
func (srv *testServer) checkScan(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(srv.announced(), srv.objects(t)); diff != "" {
		t.Errorf("Objects (-announced +found):\n%s", diff)
	}
}

// checkUnchanged compares a folder with what tree has returned before.
func checkUnchanged(t *testing.T, folder, before string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(tree(t, folder), "\n")); diff != "" {
		t.Errorf("files changed (-before +after):\n%s", diff)
	}
}

// checkNothingAnnounced checks that nothing was announced after the first n announcements.
func (r *recorder) checkNothingAnnounced(t *testing.T, n int) {
	t.Helper()
	if got := r.all()[n:]; len(got) > 0 {
		t.Errorf("announced %v, want nothing", got)
	}
}
