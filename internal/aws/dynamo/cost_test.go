package dynamo_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// TestCost counts what an upload asks for, in calls and in units of the bill. DynamoDB Local gives no units for
// statements; every statement on an item of less than 1 KB is one, done or not.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
func TestCost(t *testing.T) {
	endpoint := judge.Endpoint(t)
	counting := proxy(t, endpoint)
	table := open(t, counting.URL, endpoint)
	ctx := context.Background()

	type cost struct{ reads, writes, getCalls, writeCalls int }
	apply := func(b events.Batch) cost {
		t.Helper()
		counting.proxy.Counts()
		if _, err := table.Apply(ctx, []events.Batch{b}); err != nil {
			t.Fatal(err)
		}
		counts := counting.proxy.Counts()
		t.Logf("%+v", counts)
		if n := counts["TransactWriteItems"]; n.Units > 6 {
			t.Errorf("the ledger takes %v write units a batch", n.Units)
		}
		if n := counts["GetItem"].Units; n > 1 {
			t.Errorf("the ledger takes %v read units a batch", n)
		}
		get, put := counts["BatchGetItem"], counts["BatchExecuteStatement"]
		return cost{
			reads: get.Entries, writes: put.Entries + int(counts["UpdateItem"].Units), getCalls: get.Calls, writeCalls: put.Calls,
		}
	}
	for _, step := range []struct {
		name  string
		batch events.Batch
		want  cost
	}{
		{"all new", rows(t, 2, 0, 1000), cost{reads: 1 + 1000, writes: 1000, getCalls: 1 + 10, writeCalls: 40}},
		{"delivered again", rows(t, 2, 0, 1000), cost{reads: 1, getCalls: 1}},
		{"half is newer", rows(t, 3, 500, 1000), cost{reads: 1 + 1000, writes: 1000, getCalls: 1 + 10, writeCalls: 40}},
		{"older", rows(t, 1, 0, 1000), cost{reads: 1 + 1000, getCalls: 1 + 10}},
		{"stored, in another batch", rows(t, 3, 510, 990), cost{reads: 1 + 990, getCalls: 1 + 10}},
	} {
		if diff := gocmp.Diff(step.want, apply(step.batch), gocmp.AllowUnexported(cost{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	// What it costs to list them all: 64 KB of items, in read units of 4 KB.
	counting.proxy.Counts()
	if team, err := table.Team(ctx, "", 1000); err != nil || len(team) != 1000 {
		t.Fatalf("got %d people, %v", len(team), err)
	}
	if n := counting.proxy.Counts()["Query"]; n.Calls > 16+4 || n.Units > 1.5*1000*180/4096 {
		t.Errorf("a team of 1,000 takes %d queries and %v read units", n.Calls, n.Units)
	}
}

// rows makes a batch of a thousand or so people, of the upload of that time.
func rows(t testing.TB, ms, first, n int) events.Batch {
	t.Helper()
	o := events.Object{Bucket: "b", Key: "k", ETag: "e", Sequencer: "01", Time: time.UnixMilli(1_700_000_000_000 + int64(ms))}
	o.ETag = fmt.Sprint(ms)
	origin, err := o.Origin()
	if err != nil {
		t.Fatal(err)
	}
	b := events.Batch{Origin: origin, First: int64(first) * 31}
	for i := first; i < first+n; i++ {
		b.Rows = append(b.Rows, events.Update{Offset: int64(i) * 31, Person: fmt.Sprintf("person number %06d", i), Flavor: fmt.Sprintf("flavor %d", i%40)})
	}
	return b
}
