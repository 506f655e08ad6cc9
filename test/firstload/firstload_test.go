package firstload_test

import (
	"flag"
	"os"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/test/bench/fakeaws"
	"github.com/flavorless/flavorless/test/firstload"
)

// A first load may take maxRatio times the fullest partition's floor, and maxTail more for its last messages, which is
// negligible in a load of a million rows.
const (
	maxRatio = 1.1
	maxTail  = time.Second
)

// rows overrides the rows of each load. `go run ./test/bench firstload` measures a million.
var rows = flag.Int("rows", 0, "rows of each load (default: those of the test)")

// TestFirstLoad loads new on-demand tables, whose four partitions hold the 16 shards unevenly: in the median placement
// the fullest partition holds six. Loads are deterministic except for the random part of waits.
func TestFirstLoad(t *testing.T) {
	for _, test := range []struct {
		name      string
		placement uint64
		fullest   int // shards in the partition that has most
		rows      int
		burst     time.Duration
	}{
		{"the median placement", 0, 6, 20_000, 0},
		{"an uneven placement with burst capacity", 12, 8, 12_000, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			capacity := fakeaws.NewOnDemandTable()
			capacity.Placement, capacity.Burst = test.placement, test.burst
			if *rows > 0 {
				test.rows = *rows
			}
			r := load(t, capacity, test.rows, test.fullest)
			if limit := time.Duration(maxRatio*float64(r.Floor)) + maxTail; r.Took > limit {
				t.Errorf("the load took %s, want at most %s: %.1f × the floor and %s", r.Took, limit, maxRatio, maxTail)
			}
			if r.Deliveries != r.Messages {
				t.Errorf("%d messages were delivered %d times, want one delivery each", r.Messages, r.Deliveries)
			}
		})
	}
}

// TestSlowTable loads a table with a fraction of a new table's capacity. Invocations reach their timeout and their
// messages are delivered again, but rows that are written remain, so no message becomes a dead letter.
func TestSlowTable(t *testing.T) {
	r := load(t, fakeaws.Capacity{Partitions: 1, Write: 100, Read: 300}, 3_500, 16)
	if r.Deliveries == r.Messages {
		t.Error("all messages were applied at their first delivery, want a table that is too slow for that")
	}
}

// load loads rows into tables with the capacity, by the configured deployment.
func load(t *testing.T, capacity fakeaws.Capacity, rows, fullest int) (r firstload.Result) {
	t.Helper()
	deployment := readDeployment(t)
	synctest.Test(t, func(t *testing.T) {
		server := fakeaws.NewLimited(capacity)
		shards := make([]string, 16)
		for i := range shards {
			shards[i] = strconv.Itoa(i)
		}
		if got := server.Fullest("favorites", shards); got != fullest {
			t.Fatalf("the fullest partition holds %d shards, want %d", got, fullest)
		}
		var err error
		if r, err = firstload.Run(t.Context(), server, rows, deployment); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d rows, fullest partition with %d of 16 shards: floor %.0f s, took %.0f s, %.3f ×; %.2f statements a row, "+
		"%d deliveries of %d messages", rows, fullest, r.Floor.Seconds(), r.Took.Seconds(), r.Ratio(),
		float64(r.Statements)/float64(rows), r.Deliveries, r.Messages)
	if want := int64(rows); r.Upload.Status != events.Live || r.Upload.Counts.Applied != want || r.DeadLetters != 0 {
		t.Errorf("the upload is %s with %d rows applied and %d dead letters, want %s with %d and none",
			r.Upload.Status, r.Upload.Counts.Applied, r.DeadLetters, events.Live, want)
	}
	return r
}

// readDeployment returns what serverless.yml and resources/messaging.yml configure for apply.
func readDeployment(t *testing.T) firstload.Deployment {
	t.Helper()
	apply := section(t, "../../serverless.yml", "apply")
	queue := section(t, "../../resources/messaging.yml", "ApplyQueue")
	return firstload.Deployment{
		BatchSize:   apply.number("batchSize"),
		Concurrency: apply.number("maximumConcurrency"),
		Timeout:     time.Duration(apply.number("timeout")) * time.Second,
		Visibility:  time.Duration(queue.number("VisibilityTimeout")) * time.Second,
		MaxReceives: queue.number("maxReceiveCount"),
	}
}

// configured is a function or a resource in a file of the deployment.
type configured struct {
	t    *testing.T
	text string
}

// section returns the lines in a file below the name of a function or resource.
func section(t *testing.T, file, name string) configured {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^  ` + name + `:\n((?:    .*\n|\n)+)`).FindSubmatch(text)
	if lines == nil {
		t.Fatalf("%s has no %s", file, name)
	}
	return configured{t, string(lines[1])}
}

func (c configured) number(key string) int {
	c.t.Helper()
	value := regexp.MustCompile(`\b` + key + `: (\d+)`).FindStringSubmatch(c.text)
	if value == nil {
		c.t.Fatalf("no %s in:\n%s", key, c.text)
	}
	n, err := strconv.Atoi(value[1])
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}
