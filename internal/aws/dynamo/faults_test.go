package dynamo_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
	internalaws "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/test/conformance"
	"github.com/flavorless/flavorless/test/dynamolocal"
	"github.com/flavorless/flavorless/test/faultproxy"
)

// TestConformanceThroughFaults runs the conformance suite while a tenth of all calls fails, in every way that the
// service and the network can fail.
func TestConformanceThroughFaults(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	faulty := proxy(t, endpoint,
		faultproxy.Rule{Chance: 0.03, Fault: faultproxy.Throttle()},
		faultproxy.Rule{Chance: 0.03, Fault: faultproxy.InternalError()},
		faultproxy.Rule{Chance: 0.03, Fault: faultproxy.ResetBefore()},
		faultproxy.Rule{Chance: 0.1, Fault: faultproxy.ResetAfter()},
		faultproxy.Rule{Chance: 0.1, Fault: faultproxy.Slow(2 * time.Millisecond)},
		faultproxy.Rule{Operation: "BatchGetItem", Chance: 0.1, Fault: faultproxy.Partial("")},
		faultproxy.Rule{Operation: "BatchExecuteStatement", Chance: 0.05, Fault: faultproxy.Partial("ThrottlingError")},
		faultproxy.Rule{Operation: "BatchExecuteStatement", Chance: 0.05,
			Fault: faultproxy.Partial("ProvisionedThroughputExceeded")},
		faultproxy.Rule{Operation: "BatchExecuteStatement", Chance: 0.05,
			Fault: faultproxy.PartialAfter("InternalServerError")},
		faultproxy.Rule{Operation: "TransactWriteItems", Chance: 0.05, Fault: faultproxy.Partial("TransactionConflict")},
		faultproxy.Rule{Operation: "TransactWriteItems", Chance: 0.05, Fault: faultproxy.Refuse(http.StatusBadRequest,
			"TransactionInProgressException")},
		faultproxy.Rule{Operation: "UpdateItem", Chance: 0.05, Fault: faultproxy.Refuse(http.StatusBadRequest,
			"TransactionConflictException")},
	)
	conformance.TestTable(t, func(t *testing.T) conformance.TableUnderTest {
		return open(t, faulty.URL, endpoint,
			fastRetries)
	})
	for operation, n := range faulty.proxy.Counts() {
		t.Logf("%s: %d calls, %d with faults, %d with conflicts", operation, n.Calls, n.Faults, n.Conflicts)
	}
}

type faultyServer struct {
	*httptest.Server
	proxy *faultproxy.Proxy
}

func proxy(t testing.TB, endpoint string, rules ...faultproxy.Rule) faultyServer {
	t.Helper()
	p := faultproxy.New(endpoint, 1, rules...)
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return faultyServer{s, p}
}

// fastRetries configures a client as functions do, but with short delays between retries.
func fastRetries(o *dynamodb.Options) {
	o.Retryer = internalaws.Retryer(retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 10
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			return time.Millisecond << attempt, nil
		})
	}))
}

// TestLostAnswerThenConflict loses the response to a transaction that succeeded, and cancels the retry. Apply must
// report the batch as applied and not as a duplicate, because no other call will.
func TestLostAnswerThenConflict(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	faulty := proxy(t, endpoint,
		faultproxy.Rule{Operation: "TransactWriteItems", Times: 1, Fault: faultproxy.ResetAfter()},
		faultproxy.Rule{Operation: "TransactWriteItems", Skip: 1, Times: 1, Fault: faultproxy.Partial("TransactionConflict")},
	)
	table := open(t, faulty.URL, endpoint, fastRetries)
	origin, err := events.Object{Bucket: "b", Key: "k", ETag: "e", Sequencer: "01",
		Time: time.UnixMilli(1_700_000_000_000)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	batch := events.Batch{Origin: origin, First: 1, Rows: []events.Update{{Offset: 1, Person: "andy", Flavor: "mint"}}}
	for _, want := range []events.BatchResult{{Applied: 1}, {Duplicate: true}} {
		got, err := table.Apply(t.Context(), []events.Batch{batch}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got[0] != want {
			t.Errorf("Apply() = %+v, want %+v", got[0], want)
		}
	}
	if n := faulty.proxy.Counts()["TransactWriteItems"].Faults; n != 2 {
		t.Errorf("%d faults were injected, want 2", n)
	}
}

// TestTransactionConflict checks that no call fails because DynamoDB refuses writes to a record while a transaction
// counts a batch in it.
func TestTransactionConflict(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	object := events.Object{Bucket: "b", Key: "uploads/k.csv", ETag: "e", Sequencer: "01",
		Time: time.UnixMilli(1_700_000_000_000)}
	origin, err := object.Origin()
	if err != nil {
		t.Fatal(err)
	}
	batch := func(n int64) events.Batch {
		return events.Batch{Origin: origin, First: n, Rows: []events.Update{{Offset: n, Person: fmt.Sprint("person ", n),
			Flavor: "mint"}}}
	}
	reading := events.ReadSummary{Format: "csv", Rows: 2, Batches: 2, At: object.Time}
	type step = func(context.Context, conformance.TableUnderTest) error
	applyBatch := func(n int64) step {
		return func(ctx context.Context, table conformance.TableUnderTest) error {
			_, err := table.Apply(ctx, []events.Batch{batch(n)}, nil)
			return err
		}
	}
	begin := func(ctx context.Context, table conformance.TableUnderTest) error {
		_, err := table.Begin(ctx, object, false)
		return err
	}
	seal := func(ctx context.Context, table conformance.TableUnderTest) error {
		_, err := table.Seal(ctx, object.UploadID(), reading)
		return err
	}
	for _, test := range []struct {
		name     string
		before   []step
		call     step
		refusals int // of the call's writes, until the transaction is executed
	}{
		{name: "Begin", call: begin, refusals: 3},
		{name: "Begin after Apply", before: []step{applyBatch(1)}, call: begin, refusals: 3},
		{name: "Begin again", before: []step{begin}, call: begin},
		{name: "Seal", before: []step{begin}, call: seal, refusals: 3},
		{name: "Apply another batch", before: []step{begin}, call: applyBatch(3), refusals: 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			faulty := proxy(t, endpoint)
			table := open(t, faulty.URL, endpoint, fastRetries)
			for _, step := range test.before {
				if err := step(t.Context(), table); err != nil {
					t.Fatal(err)
				}
			}
			faulty.proxy.Counts()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			failed := make(chan error, 2)
			call := func() {
				err := test.call(ctx, table)
				if err != nil {
					stop() // otherwise the transaction would wait for refusals forever
				}
				failed <- err
			}
			held := call
			if test.refusals > 0 {
				held = func() { go call() }
			}
			faulty.proxy.SetRules(faultproxy.Rule{Operation: "TransactWriteItems", Times: 1, Fault: faultproxy.Hold(held,
				test.refusals)})
			failed <- applyBatch(2)(ctx, table)
			for range 2 {
				if err := <-failed; err != nil {
					t.Error(err)
				}
			}
			conflicts := 0
			for _, n := range faulty.proxy.Counts() {
				conflicts += n.Conflicts
			}
			if conflicts < test.refusals {
				t.Errorf("%d writes were refused because of a conflict, want at least %d", conflicts, test.refusals)
			}
		})
	}
}

// TestClientRetriesConflicts checks that the functions' client retries conflicts, as fastRetries does in the other
// tests.
func TestClientRetriesConflicts(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	faulty := proxy(t, endpoint,
		faultproxy.Rule{Operation: "UpdateItem", Times: 1, Fault: faultproxy.Refuse(http.StatusBadRequest,
			"TransactionConflictException")},
	)
	tables := dynamolocal.Create(t, dynamodb.New(dynamolocal.Options(endpoint)), "conflicts")
	access := internalaws.Access{Region: "us-east-1", KeyID: "key", Secret: "secret",
		Endpoint: func(string) string { return faulty.URL }}
	table := dynamo.New(dynamo.Config{Client: dynamo.Client(access), Uploads: tables.Uploads})
	object := events.Object{Bucket: "b", Key: "k", ETag: "e", Sequencer: "01", Time: time.UnixMilli(1_700_000_000_000)}
	if _, err := table.Begin(t.Context(), object, false); err != nil {
		t.Error(err)
	}
}
