package dynamo_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/test/dynamolocal"
)

// TestKilledRepair applies a batch that is older than a comparing upload, which left its people unchanged. The first
// attempt is killed before or after each of its requests: those that write, look, repair, look again and record. The
// second attempt must repair in any case, because it can't know what the first has done.
func TestKilledRepair(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	names := dynamolocal.Create(t, dynamodb.New(dynamolocal.Options(endpoint)), fmt.Sprintf("t%d", names.Add(1)))
	open := func(client dynamodb.HTTPClient) *dynamo.Table {
		o := dynamolocal.Options(endpoint)
		o.HTTPClient, o.RetryMaxAttempts = client, 1
		return dynamo.New(dynamo.Config{
			Client: dynamodb.New(o), Favorites: names.Favorites, Uploads: names.Uploads, Comparisons: names.Comparisons,
		})
	}
	own := ownClient(t)
	kills := 0
	for _, after := range []bool{false, true} {
		for calls := int64(0); ; calls++ {
			client := &killedClient{next: own, after: after}
			client.left.Store(calls)
			killed := killRepair(t, open, client, fmt.Sprintf("%t/%d", after, calls))
			if !killed {
				break
			}
			kills++
		}
	}
	if kills < 2*9 {
		t.Errorf("Apply was killed at %d places, want at least 18", kills)
	}
}

// killRepair reports whether the first attempt was killed.
func killRepair(t *testing.T, open func(dynamodb.HTTPClient) *dynamo.Table, client *killedClient, name string) bool {
	t.Helper()
	ctx := t.Context()
	first, late, newer := rows(t, 1, 0, 12), rows(t, 2, 0, 12), rows(t, 3, 0, 12)
	newest := events.Object{Bucket: "b", Key: name, ETag: "3", Sequencer: "01", Time: newer.Origin.Time()}
	var err error
	if newer.Origin, err = newest.Origin(); err != nil {
		t.Fatal(err)
	}
	older := newest
	older.Time, older.ETag = late.Origin.Time(), "2"
	if late.Origin, err = older.Origin(); err != nil {
		t.Fatal(err)
	}
	for i := range first.Rows {
		person := fmt.Sprintf("%s/%02d", name, i)
		first.Rows[i].Person, late.Rows[i].Person, newer.Rows[i].Person = person, person, person
		late.Rows[i].Flavor = "late"
	}
	first.First, newer.Compare = int64(len(name))<<32+client.left.Load(), true
	repair := func(_ context.Context, origins []events.Origin, _ []events.Batch) (all []events.Batch, _ error) {
		for _, o := range origins {
			if o == newer.Origin {
				all = append(all, newer)
			}
		}
		return all, nil
	}
	table := open(dynamolocal.Options("").HTTPClient)
	apply := func(table *dynamo.Table, b events.Batch) (events.BatchResult, error) {
		results, err := table.Apply(ctx, []events.Batch{b}, repair)
		if err != nil {
			return events.BatchResult{}, err
		}
		return results[0], nil
	}
	if _, err := apply(table, first); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Begin(ctx, newest, false); err != nil {
		t.Fatal(err)
	}
	if compare, err := table.BeginComparing(ctx, newest.UploadID()); !compare || err != nil {
		t.Fatalf("BeginComparing() = %t, %v, want true", compare, err)
	}
	if got, err := apply(table, newer); err != nil || got.Unchanged != 12 {
		t.Fatalf("Apply() of the comparing batch = %+v, %v, want 12 unchanged", got, err)
	}
	_, err = apply(open(client), late)
	killed := err != nil
	if killed && !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	if _, err := apply(table, late); err != nil {
		t.Fatal(err)
	}
	for _, want := range newer.Rows {
		got, err := table.Lookup(ctx, want.Person)
		if err != nil || got.Flavor != want.Flavor {
			t.Fatalf("Lookup(%q) = %+v, %v, want the flavor %s of the newer upload", want.Person, got, err, want.Flavor)
		}
	}
	u, err := table.Upload(ctx, older.UploadID())
	// The second attempt finds the rows superseded if the first has repaired them.
	if c := u.Counts; err != nil || c.Applied+c.Superseded != 12 || c.BatchesApplied != 1 {
		t.Fatalf("the late upload has %+v, %v, want 12 applied or superseded in 1 batch", c, err)
	}
	return killed
}
