package stages_test

import (
	"context"
	"encoding/json"
	"errors"
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

// grave keeps dead letters, or fails to.
type grave struct {
	letters []queues.FailedMessage
	err     error
}

func (g *grave) Put(ctx context.Context, letter queues.FailedMessage) error {
	if err := errors.Join(g.err, ctx.Err()); err != nil {
		return err
	}
	g.letters = append(g.letters, letter)
	return nil
}

// bodies gives the dead letters as "source id: body (reason)".
func (g *grave) summary() []string {
	var list []string
	for _, l := range g.letters {
		list = append(list, l.Source+" "+l.ID+": "+string(l.Body)+" ("+l.Reason.Error()+")")
	}
	return list
}

func common(t *testing.T, dead *grave) stages.Common {
	return stages.Common{
		DeadLetters: dead, Metrics: metrics.NewEMF(t.Output(), "f", "test", time.Now), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// counts are the counters of a metrics.Recorder.
type counts map[string]int64

func (c counts) Count(name string, n int64, _ ...metrics.Label)        { c[name] += n }
func (c counts) Observe(_ string, _ time.Duration, _ ...metrics.Label) {}

// fate fails for what has these words in it.
func fate(s string) error {
	switch {
	case strings.Contains(s, "poison"):
		return errors.Join(events.ErrPermanent, errors.New("never"))
	case strings.Contains(s, "later"):
		return errors.New("not now")
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

func golden(t *testing.T, response any) string {
	t.Helper()
	body, err := json.Marshal(response)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
