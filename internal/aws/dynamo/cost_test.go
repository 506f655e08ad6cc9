package dynamo_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// TestCost counts the calls and the capacity units of an upload. DynamoDB Local reports no units for statements; every
// statement about an item of less than 1 KB costs one, whether it succeeds or not.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
func TestCost(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	counting := proxy(t, endpoint)
	table := open(t, counting.URL, endpoint)
	ctx := context.Background()

	type cost struct{ reads, writes, getCalls, writeCalls int }
	apply := func(b events.Batch) cost {
		t.Helper()
		counting.proxy.Counts()
		if _, err := table.Apply(ctx, []events.Batch{b}, nil); err != nil {
			t.Fatal(err)
		}
		counts := counting.proxy.Counts()
		t.Logf("%+v", counts)
		if n := counts["TransactWriteItems"]; n.Units > 6 {
			t.Errorf("the ledger costs %v write units per batch, want at most 6", n.Units)
		}
		if n := counts["GetItem"].Units; n > 1 {
			t.Errorf("the ledger costs %v read units per batch, want at most 1", n)
		}
		get, put := counts["BatchGetItem"], counts["BatchExecuteStatement"]
		return cost{
			reads: get.Entries, writes: put.Entries + int(counts["UpdateItem"].Units), getCalls: get.Calls,
			writeCalls: put.Calls,
		}
	}
	for _, step := range []struct {
		name  string
		batch events.Batch
		want  cost
	}{
		{"all new", rows(t, 2, 0, 1000), cost{reads: 1 + 1000, writes: 1000, getCalls: 1 + 10, writeCalls: 40}},
		{"duplicate", rows(t, 2, 0, 1000), cost{reads: 1, getCalls: 1}},
		{"half is newer", rows(t, 3, 500, 1000), cost{reads: 1 + 1000, writes: 1000, getCalls: 1 + 10, writeCalls: 40}},
		{"older", rows(t, 1, 0, 1000), cost{reads: 1 + 1000, getCalls: 1 + 10}},
		{"stored, but in another batch", rows(t, 3, 510, 990), cost{reads: 1 + 990, getCalls: 1 + 10}},
	} {
		if diff := gocmp.Diff(step.want, apply(step.batch), gocmp.AllowUnexported(cost{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	// A team of 1,000 has 64 KB of items; a read unit is 4 KB.
	counting.proxy.Counts()
	if team, err := table.Team(ctx, "", 1000); err != nil || len(team) != 1000 {
		t.Fatalf("got %d people, %v", len(team), err)
	}
	if n := counting.proxy.Counts()["Query"]; n.Calls > 16+4 || n.Units > 1.5*1000*180/4096 {
		t.Errorf("a team of 1,000 costs %d queries and %v read units, want at most 20 and 66", n.Calls, n.Units)
	}
}

// rows returns a batch of n people, from number first on, of an upload at that time.
func rows(t testing.TB, ms, first, n int) events.Batch {
	t.Helper()
	o := events.Object{Bucket: "b", Key: "k", ETag: "e", Sequencer: "01", Time: time.UnixMilli(1_700_000_000_000 +
		int64(ms))}
	o.ETag = fmt.Sprint(ms)
	origin, err := o.Origin()
	if err != nil {
		t.Fatal(err)
	}
	b := events.Batch{Origin: origin, First: int64(first) * 31}
	for i := first; i < first+n; i++ {
		b.Rows = append(b.Rows, events.Update{
			Offset: int64(i) * 31, Person: fmt.Sprintf("person number %06d", i), Flavor: fmt.Sprintf("flavor %d", i%40),
		})
	}
	return b
}
