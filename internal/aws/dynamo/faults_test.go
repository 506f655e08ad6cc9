package dynamo_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/test/conformance"
	"github.com/flavorless/flavorless/test/faultproxy"
)

// TestConformanceThroughFaults: all that the port promises holds while a tenth of everything fails, in every way that the
// service and the network know.
func TestConformanceThroughFaults(t *testing.T) {
	endpoint := judge.Endpoint(t)
	faulty := proxy(t, endpoint,
		faultproxy.Rule{Chance: 0.03, Fault: faultproxy.Throttle()},
		faultproxy.Rule{Chance: 0.03, Fault: faultproxy.Break()},
		faultproxy.Rule{Chance: 0.03, Fault: faultproxy.ResetBefore()},
		faultproxy.Rule{Chance: 0.1, Fault: faultproxy.ResetAfter()},
		faultproxy.Rule{Chance: 0.1, Fault: faultproxy.Slow(2 * time.Millisecond)},
		faultproxy.Rule{Operation: "BatchGetItem", Chance: 0.1, Fault: faultproxy.Partial("")},
		faultproxy.Rule{Operation: "BatchExecuteStatement", Chance: 0.05, Fault: faultproxy.Partial("ThrottlingError")},
		faultproxy.Rule{Operation: "BatchExecuteStatement", Chance: 0.05, Fault: faultproxy.Partial("ProvisionedThroughputExceeded")},
		faultproxy.Rule{Operation: "BatchExecuteStatement", Chance: 0.05, Fault: faultproxy.Pretend("InternalServerError")},
		faultproxy.Rule{Operation: "TransactWriteItems", Chance: 0.05, Fault: faultproxy.Partial("TransactionConflict")},
	)
	conformance.Table(t, func(t *testing.T) conformance.TableUnderTest { return open(t, faulty.URL, endpoint, patient) })
	for operation, n := range faulty.proxy.Counts() {
		t.Logf("%s: %d calls, %d with faults", operation, n.Calls, n.Faults)
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

// patient is how a function sets the client up, but for the times, which are short.
func patient(o *dynamodb.Options) {
	o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 10
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return time.Millisecond, nil })
	})
}

// TestLostAnswerThenConflict: a transaction happens, its answer is lost, and the next try of it is cancelled. The batch was
// applied by this call and no other, which has to say so: nobody else will.
func TestLostAnswerThenConflict(t *testing.T) {
	endpoint := judge.Endpoint(t)
	faulty := proxy(t, endpoint,
		faultproxy.Rule{Operation: "TransactWriteItems", Times: 1, Fault: faultproxy.ResetAfter()},
		faultproxy.Rule{Operation: "TransactWriteItems", Skip: 1, Times: 1, Fault: faultproxy.Partial("TransactionConflict")},
	)
	table := open(t, faulty.URL, endpoint, patient)
	origin, err := events.Object{Bucket: "b", Key: "k", ETag: "e", Sequencer: "01", Time: time.UnixMilli(1_700_000_000_000)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	batch := events.Batch{Origin: origin, First: 1, Rows: []events.Update{{Offset: 1, Person: "andy", Flavor: "mint"}}}
	for _, want := range []events.Tally{{Applied: 1}, {Duplicate: true}} {
		got, err := table.Apply(t.Context(), []events.Batch{batch})
		if err != nil {
			t.Fatal(err)
		}
		if got[0] != want {
			t.Errorf("the tally is %+v, want %+v", got[0], want)
		}
	}
	if n := faulty.proxy.Counts()["TransactWriteItems"].Faults; n != 2 {
		t.Errorf("%d faults were injected, want 2", n)
	}
}
