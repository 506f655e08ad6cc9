package dynamo_test

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/test/bench/fakeaws"
)

// sorted returns a comparing batch of every step-th of n people in one shard.
func sorted(t testing.TB, ms, n, step int) events.Batch {
	t.Helper()
	b := rows(t, ms, 0, 16*n)
	b.Compare = true
	b.Rows = slices.DeleteFunc(b.Rows, func(u events.Update) bool { return dynamo.ShardOf(u.Person) != 5 })
	slices.SortFunc(b.Rows, func(x, y events.Update) int { return cmp.Compare(x.Person, y.Person) })
	kept := b.Rows[:0]
	for i, u := range b.Rows {
		if i%step == 0 {
			kept = append(kept, u)
		}
	}
	b.Rows = kept
	return b
}

func tableOf(services http.Handler) *dynamo.Table {
	s := &throttling{services: services, calls: map[string]int{}}
	return s.table()
}

func noRepair(context.Context, []events.Origin, []events.Batch) ([]events.Batch, error) {
	return nil, nil
}

// TestRangesCost counts the read units of comparing batches that name all, few and very few people of their ranges.
func TestRangesCost(t *testing.T) {
	for _, test := range []struct {
		name  string
		step  int     // one of this many people is in the batch
		most  float64 // read units for each row
		calls string  // the operation that reads most rows
	}{
		{"all people", 1, 0.05, "Query"},
		{"one in 5", 5, 0.25, "Query"},
		{"one in 20", 20, 1, "Query"},
		{"one in 100", 100, 1.2, "BatchGetItem"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				services := fakeaws.New()
				table := tableOf(services)
				if _, err := table.Apply(t.Context(), []events.Batch{sorted(t, 1, 10_000, 1)}, noRepair); err != nil {
					t.Fatal(err)
				}
				batch := sorted(t, 2, 10_000, test.step)
				services.Counts()
				results, err := table.Apply(t.Context(), []events.Batch{batch}, noRepair)
				if err != nil {
					t.Fatal(err)
				}
				n := len(batch.Rows)
				if want := (events.BatchResult{Unchanged: int64(n)}); results[0] != want {
					t.Errorf("Apply() = %+v, want %+v", results[0], want)
				}
				counts := services.Counts()
				favorites := counts.Units["favorites"]
				if favorites.Write > 0 || favorites.Read > test.most*float64(n)+2 {
					t.Errorf("%d rows cost %v write units and %v read units, want 0 and at most %v", n, favorites.Write,
						favorites.Read, test.most*float64(n)+2)
				}
				keys := counts.Calls["BatchGetItem"].Entries - 1 // one is the marker
				if byKeys := keys > n/2; byKeys != (test.calls == "BatchGetItem") {
					t.Errorf("%d of %d rows were read by keys, want most by %s", keys, n, test.calls)
				}
			})
		})
	}
}

// TestRangesMix applies a comparing batch together with others that name some of its people. The newest row of each
// person wins, and only rows of the comparing batch may be unchanged.
func TestRangesMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := tableOf(fakeaws.New())
		if _, err := table.Apply(t.Context(), []events.Batch{sorted(t, 1, 100, 1)}, noRepair); err != nil {
			t.Fatal(err)
		}
		older, compared, newer := sorted(t, 2, 100, 2), sorted(t, 3, 100, 1), sorted(t, 4, 100, 4)
		older.Compare, newer.Compare = false, false
		n := len(compared.Rows)
		got, err := table.Apply(t.Context(), []events.Batch{older, compared, newer}, noRepair)
		if err != nil {
			t.Fatal(err)
		}
		more := len(newer.Rows)
		for i, want := range []events.BatchResult{
			{Superseded: int64(len(older.Rows))}, {Superseded: int64(more), Unchanged: int64(n - more)}, {Applied: int64(more)},
		} {
			if got[i] != want {
				t.Errorf("result %d = %+v, want %+v", i, got[i], want)
			}
		}
	})
}

// TestThrottledRange checks that a throttled range query, and a throttled look for newer uploads, are retried.
func TestThrottledRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &throttling{
			services: fakeaws.New(), operation: "Query", until: start.Add(20 * time.Second), calls: map[string]int{},
		}
		ctx, cancel := context.WithDeadline(t.Context(), start.Add(30*time.Second))
		defer cancel()
		results, err := s.table().Apply(ctx, []events.Batch{sorted(t, 1, 500, 1)}, noRepair)
		if err != nil || results[0].Applied == 0 {
			t.Errorf("Apply() = %+v, %v, want all rows applied", results, err)
		}
		if took := time.Since(start); took > 22*time.Second {
			t.Errorf("Apply took %v, want at most 22s: 2 seconds more than the throttling", took)
		}
		if n := s.calls["Query"]; n < 10 {
			t.Errorf("%d calls of Query, want at least 10 because of throttling", n)
		}
	})
}

// TestNotComparing checks that no upload compares, and nothing is looked for, without a table of comparisons.
func TestNotComparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &throttling{services: fakeaws.New(), calls: map[string]int{}}
		client := dynamo.Client(aws.Access{Region: "us-east-1", KeyID: "test", Secret: "test"})
		table := dynamo.New(dynamo.Config{
			Client:    dynamodb.New(client.Options(), func(o *dynamodb.Options) { o.HTTPClient = s }),
			Favorites: "favorites", Uploads: "uploads",
		})
		if compare, err := table.BeginComparing(t.Context(), "any"); compare || err != nil {
			t.Errorf("BeginComparing() = %t, %v, want false and no error", compare, err)
		}
		if _, err := table.Apply(t.Context(), []events.Batch{rows(t, 1, 0, 20)}, nil); err != nil {
			t.Error(err)
		}
		if n := s.calls["Query"]; n > 0 {
			t.Errorf("%d queries, want none", n)
		}
	})
}
