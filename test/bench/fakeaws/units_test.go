package fakeaws_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/test/bench/fakeaws"
	"github.com/flavorless/flavorless/test/dynamolocal"
	"github.com/flavorless/flavorless/test/faultproxy"
)

var emulator dynamolocal.Server

func TestMain(m *testing.M) {
	m.Run()
	emulator.Stop()
}

// TestUnits compares the responses and the counts of the fake with those of DynamoDB Local, over the same calls.
// DynamoDB Local returns no units for statements; each takes one, and their number is compared. It also returns none
// for reading what does not exist, for conditions that fail, and for the second unit of transactional updates of
// existing items. DynamoDB bills all three, and the fake counts them.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
func TestUnits(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	tables := dynamolocal.Create(t, dynamodb.New(dynamolocal.Options(endpoint)), "units")
	counting := faultproxy.New(endpoint, 1)
	proxy := httptest.NewServer(counting)
	defer proxy.Close()
	fake := fakeaws.New()
	server := httptest.NewServer(fake)
	defer server.Close()
	clock := func() time.Time { return time.UnixMilli(1_800_000_100_000) }
	real := dynamo.New(dynamo.Config{Client: dynamodb.New(dynamolocal.Options(proxy.URL)), Favorites: tables.Favorites,
		Uploads: tables.Uploads, Comparisons: tables.Comparisons, Clock: clock})
	ours := dynamo.New(dynamo.Config{Client: dynamodb.New(dynamolocal.Options(server.URL)), Favorites: "favorites",
		Uploads: "uploads", Comparisons: "comparisons", Clock: clock})

	for _, step := range []struct {
		name string
		do   func(table *dynamo.Table) (any, error)
		free float64 // units that DynamoDB Local does not return
	}{
		{"begin", func(table *dynamo.Table) (any, error) { return table.Begin(t.Context(), object(2), false) }, 0},
		{"begin again", func(table *dynamo.Table) (any, error) { return table.Begin(t.Context(), object(2), false) }, 0},
		{"all new", apply(2, 300, false), 301 + 2 + 1},
		{"delivered again", apply(2, 300, false), 0},
		{"newer", apply(3, 300, false), 1 + 1},
		{"older", apply(1, 310, false), 11 + 1},
		{"announce", func(table *dynamo.Table) (any, error) {
			return table.BeginComparing(t.Context(), object(2).UploadID())
		}, 1},
		{"unchanged", apply(4, 305, true), 1 + 1},
		{"seal", func(table *dynamo.Table) (any, error) {
			return table.Seal(t.Context(), object(2).UploadID(), events.ReadSummary{Format: "csv", Rows: 300, Batches: 1,
				At: clock()})
		}, 0},
		{"lookup", func(table *dynamo.Table) (any, error) { return table.Lookup(t.Context(), "person 7") }, 0},
		{"team", func(table *dynamo.Table) (any, error) { return table.Team(t.Context(), "", 100) }, 0},
		{"rest of the team", func(table *dynamo.Table) (any, error) { return table.Team(t.Context(), "person 2", 1000) }, 0},
	} {
		want, err := step.do(real)
		if err != nil {
			t.Fatalf("%s, DynamoDB Local: %v", step.name, err)
		}
		got, err := step.do(ours)
		if err != nil {
			t.Fatalf("%s, fake: %v", step.name, err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s: results (-DynamoDB Local +fake):\n%s", step.name, diff)
		}
		reference, counted := counting.Counts(), fake.Counts()
		units := 0.0
		for name, c := range reference {
			if calls := counted.Calls[name]; calls.Requests != c.Calls || max(calls.Entries, calls.Requests) != c.Entries {
				t.Errorf("%s: the fake counted %+v calls of %s, want %+v", step.name, calls, name, c)
			}
			units += c.Units
		}
		fakeUnits := 0.0
		for _, u := range counted.Units {
			fakeUnits += u.Read + u.Write + u.Index
		}
		fakeUnits -= float64(reference["BatchExecuteStatement"].Entries)
		if units+step.free != fakeUnits {
			t.Errorf("%s: the fake counted %v units, want %v: %+v", step.name, fakeUnits, units+step.free, reference)
		}
	}
}

func object(n int) events.Object {
	return events.Object{Bucket: "b", Key: fmt.Sprintf("uploads/%d.csv", n), ETag: "e", Sequencer: "01",
		Time: time.UnixMilli(1_800_000_000_000 + int64(n))}
}

// apply returns a call of Apply for people of one shard if the batch compares, else for any people.
func apply(upload, people int, compare bool) func(*dynamo.Table) (any, error) {
	return func(table *dynamo.Table) (any, error) {
		origin, err := object(upload).Origin()
		if err != nil {
			return nil, err
		}
		b := events.Batch{Origin: origin, Compare: compare}
		for i := range people {
			person := fmt.Sprintf("person %d", i)
			if !compare || dynamo.ShardOf(person) == 3 {
				b.Rows = append(b.Rows, events.Update{Offset: int64(i), Person: person, Flavor: "mint"})
			}
		}
		if compare {
			slices.SortFunc(b.Rows, func(a, b events.Update) int { return cmp.Compare(a.Person, b.Person) })
		}
		return table.Apply(context.Background(), []events.Batch{b}, nil)
	}
}
