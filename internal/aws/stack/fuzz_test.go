package stack_test

import (
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/stack"
)

// FuzzDeadLetter: of whatever lies in a dead-letter queue it can be said what it is.
func FuzzDeadLetter(f *testing.F) {
	const announced = `{"Records":[{"eventTime":"2026-11-23T08:19:00Z","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"uploads%2Fa.csv"}}}]}`
	f.Add([]byte(announced), "", "", "no space")
	f.Add([]byte(`{"requestContext":{"condition":"RetriesExhausted"},"requestPayload":`+announced+`,"responsePayload":{"errorMessage":"boom"}}`), "", "", "")
	f.Add([]byte(`{"requestContext":{"condition":"x"},"DDBStreamBatchInfo":{"batchSize":3,"approximateArrivalOfFirstRecord":"2026-11-23T08:19:00Z"}}`), "", "", "")
	f.Add([]byte(`{"requestContext":{"condition":"x"},"responsePayload":7}`), "", "", "")
	f.Add([]byte(`{}`), "flavorless.change.v1", "andy", "poison")
	f.Add([]byte(`?`), "flavorless.updates.v1", "u1", "")
	f.Fuzz(func(t *testing.T, body []byte, typ, of, reason string) {
		subject, why := stack.About("m-1", body, map[string]string{"type": typ, "person": of, "upload": of, queues.DeadReason: reason})
		if subject == "" {
			t.Errorf("nothing is said of %q", body)
		}
		if reason != "" && why == "" {
			t.Errorf("the reason %q is kept back", reason)
		}
		if strings.Contains(string(body), "requestContext") {
			return
		}
		if why != reason {
			t.Errorf("the reason is said to be %q, and is %q", why, reason)
		}
	})
}
