package dynamo_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/test/bench/fakeaws"
)

// throttling is a client's connection to the services that throttles one operation until a time.
type throttling struct {
	services  http.Handler
	operation string
	until     time.Time

	mu    sync.Mutex
	calls map[string]int
}

const throttlingAnswer = `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Throttled"}`

func (s *throttling) Do(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	s.mu.Lock()
	s.calls[operation]++
	s.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	time.Sleep(5 * time.Millisecond) // virtual
	answer := httptest.NewRecorder()
	if operation == s.operation && time.Now().Before(s.until) {
		answer.WriteHeader(http.StatusBadRequest)
		_, _ = answer.WriteString(throttlingAnswer)
	} else {
		s.services.ServeHTTP(answer, r)
	}
	return answer.Result(), nil
}

func (s *throttling) applier() *ingest.Applier {
	return &ingest.Applier{Table: s.table(), Log: slog.New(slog.DiscardHandler)}
}

func (s *throttling) table() *dynamo.Table {
	client := dynamo.Client(aws.Access{Region: "us-east-1", KeyID: "test", Secret: "test"})
	return dynamo.New(dynamo.Config{
		Client:    dynamodb.New(client.Options(), func(o *dynamodb.Options) { o.HTTPClient = s }),
		Favorites: "favorites", Uploads: "uploads", Comparisons: "comparisons",
	})
}

// limited returns services whose favorites table accepts no second write for a long time.
func limited() http.Handler {
	return fakeaws.NewLimited(fakeaws.Capacity{Partitions: 1, Write: 0.02, Read: 1000})
}

// TestThrottledUntilItIsNot checks that a throttled Apply succeeds soon after the throttling ends, whatever call is
// throttled.
func TestThrottledUntilItIsNot(t *testing.T) {
	for _, operation := range []string{"BatchGetItem", "BatchExecuteStatement", "TransactWriteItems"} {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := &throttling{services: fakeaws.New(), operation: operation, until: start.Add(20 * time.Second),
					calls: map[string]int{}}
				ctx, cancel := context.WithDeadline(t.Context(), start.Add(30*time.Second))
				defer cancel()
				for i, err := range s.applier().Apply(ctx, bodies(t)) {
					if err != nil {
						t.Errorf("message %d: %v", i, err)
					}
				}
				if took := time.Since(start); took > 22*time.Second {
					t.Errorf("Apply took %v, want at most 22s: 2 seconds more than the throttling", took)
				}
			})
		})
	}
}

// TestThrottledUntilTheDeadline checks that an Apply that remains throttled gives up shortly before its deadline, does
// not retry the rows in smaller batches, and makes few calls because its waits become longer.
func TestThrottledUntilTheDeadline(t *testing.T) {
	for _, test := range []struct{ name, throttled, counted string }{
		{"reads", "BatchGetItem", "BatchGetItem"},
		{"writes", "BatchExecuteStatement", "BatchExecuteStatement"},
		{"single statements", "", "BatchExecuteStatement"},
		{"transactions", "TransactWriteItems", "TransactWriteItems"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := &throttling{services: fakeaws.New(), operation: test.throttled, until: start.Add(time.Hour),
					calls: map[string]int{}}
				if test.throttled == "" {
					s.services = limited()
				}
				ctx, cancel := context.WithDeadline(t.Context(), start.Add(30*time.Second))
				defer cancel()
				for i, err := range s.applier().Apply(ctx, bodies(t)) {
					if !errors.Is(err, events.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("message %d: error %v, want %v before the deadline", i, err, events.ErrUnavailable)
					}
				}
				if took := time.Since(start); took < 27*time.Second || took >= 30*time.Second {
					t.Errorf("Apply gave up after %v, want shortly before the deadline of 30s", took)
				}
				if n := s.calls[test.counted]; n < 20 || n > 200 {
					t.Errorf("%d calls of %s, want about two per second", n, test.counted)
				}
			})
		})
	}
}

// TestThrottledReads checks that reads of a throttled table return events.ErrUnavailable.
func TestThrottledReads(t *testing.T) {
	object := events.Object{Bucket: "b", Key: "uploads/k.csv", ETag: "e", Sequencer: "1",
		Time: time.UnixMilli(1_795_000_000_000)}
	for _, test := range []struct {
		name, operation string
		read            func(context.Context, *dynamo.Table) error
	}{
		{"lookup", "GetItem", func(ctx context.Context, table *dynamo.Table) error {
			_, err := table.Lookup(ctx, "andy")
			return err
		}},
		{"team", "Query", func(ctx context.Context, table *dynamo.Table) error {
			_, err := table.Team(ctx, "", 10)
			return err
		}},
		{"upload", "GetItem", func(ctx context.Context, table *dynamo.Table) error {
			_, err := table.Upload(ctx, object.UploadID())
			return err
		}},
		{"uploads", "Query", func(ctx context.Context, table *dynamo.Table) error {
			_, err := table.Uploads(ctx, "", 10)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &throttling{services: fakeaws.New(), operation: test.operation, until: time.Now().Add(time.Hour),
					calls: map[string]int{}}
				if err := test.read(t.Context(), s.table()); !errors.Is(err, events.ErrUnavailable) {
					t.Errorf("error %v, want %v", err, events.ErrUnavailable)
				}
			})
		})
	}
}

// TestThrottledRaces throttles the single updates for rows that another writer wrote first.
func TestThrottledRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		services := fakeaws.New()
		s := &throttling{
			services: &racing{Handler: services, t: t}, operation: "UpdateItem", until: start.Add(10 * time.Second),
			calls: map[string]int{},
		}
		ctx, cancel := context.WithDeadline(t.Context(), start.Add(30*time.Second))
		defer cancel()
		if err := errors.Join(s.applier().Apply(ctx, [][]byte{encoded(t, rows(t, 1, 0, 20))})...); err != nil {
			t.Error(err)
		}
		if n := s.calls["UpdateItem"]; n < 5 {
			t.Errorf("%d calls of UpdateItem, want at least 5 because of throttling", n)
		}
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("Apply took %v, want at most 12s: 2 seconds more than the throttling", took)
		}
	})
}

// racing applies an older upload with the same people between the first read and the first write.
type racing struct {
	http.Handler
	t     *testing.T
	raced bool
}

func (h *racing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.raced && strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".BatchExecuteStatement") {
		h.raced = true
		other := &throttling{services: h.Handler, calls: map[string]int{}}
		bodies := [][]byte{encoded(h.t, rows(h.t, 0, 0, 10))}
		if err := errors.Join(other.applier().Apply(h.t.Context(), bodies)...); err != nil {
			h.t.Error(err)
		}
	}
	h.Handler.ServeHTTP(w, r)
}

// bodies returns two messages with 10 people each, which need one read and one write.
func bodies(t *testing.T) [][]byte {
	t.Helper()
	return [][]byte{encoded(t, rows(t, 1, 0, 10)), encoded(t, rows(t, 1, 10, 10))}
}

func encoded(t *testing.T, b events.Batch) []byte {
	t.Helper()
	w := events.NewBatchWriter(b.Origin)
	for _, row := range b.Rows {
		w.Add(row)
	}
	return w.Message().Body
}
