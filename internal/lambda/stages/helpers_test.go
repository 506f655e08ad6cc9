package stages_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
)

// deadQueue stores dead letters, or fails with err.
type deadQueue struct {
	letters []queues.FailedMessage
	err     error
}

func (q *deadQueue) Put(ctx context.Context, letter queues.FailedMessage) error {
	if err := errors.Join(q.err, ctx.Err()); err != nil {
		return err
	}
	q.letters = append(q.letters, letter)
	return nil
}

// summary returns each dead letter as "source id: body". It fails the test if a reason is not permanent.
func (q *deadQueue) summary(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, l := range q.letters {
		if !errors.Is(l.Reason, events.ErrPermanent) {
			t.Errorf("reason of dead letter %s = %v, want events.ErrPermanent", l.ID, l.Reason)
		}
		list = append(list, l.Source+" "+l.ID+": "+string(l.Body))
	}
	return list
}

func common(t *testing.T, dead *deadQueue) stages.Common {
	return stages.Common{
		DeadLetters: dead, Metrics: metrics.NewEMF(t.Output(), "f", "test", time.Now),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// counts is a metrics.Recorder that ignores labels and durations.
type counts map[string]int64

func (c counts) Count(name string, n int64, _ ...metrics.Label)        { c[name] += n }
func (c counts) Observe(_ string, _ time.Duration, _ ...metrics.Label) {}

var (
	errPermanent = fmt.Errorf("%w: invalid", events.ErrPermanent)
	errTemporary = errors.New("throttled")
)

// outcome returns the error with which the fakes handle s.
func outcome(s string) error {
	switch {
	case strings.Contains(s, "poison"):
		return errPermanent
	case strings.Contains(s, "later"):
		return errTemporary
	}
	return nil
}

func read(t *testing.T, file string, event any) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if event != nil {
		if err := json.Unmarshal(body, event); err != nil {
			t.Fatal(err)
		}
	}
	return body
}

func encode(t *testing.T, response any) string {
	t.Helper()
	body, err := json.Marshal(response)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
