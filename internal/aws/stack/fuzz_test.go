package stack_test

import (
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/stack"
)

// FuzzDeadLetter checks that every dead letter has a subject, and keeps the reason that was sent with it.
func FuzzDeadLetter(f *testing.F) {
	const event = `{"Records":[{"eventTime":"2026-11-23T08:19:00Z","eventName":"ObjectCreated:Put",` +
		`"s3":{"bucket":{"name":"b"},"object":{"key":"uploads%2Fa.csv"}}}]}`
	f.Add([]byte(event), "", "", "no space")
	for _, failure := range []string{
		`{"requestContext":{"condition":"RetriesExhausted"},"requestPayload":` + event +
			`,"responsePayload":{"errorMessage":"boom"}}`,
		`{"requestContext":{"condition":"x"},"DDBStreamBatchInfo":{"batchSize":3,` +
			`"approximateArrivalOfFirstRecord":"2026-11-23T08:19:00Z"}}`,
		`{"requestContext":{"condition":"x"},"responsePayload":7}`,
	} {
		f.Add([]byte(failure), "", "", "")
	}
	f.Add([]byte(`{}`), "flavorless.change.v1", "andy", "poison")
	f.Add([]byte(`?`), "flavorless.updates.v1", "u1", "")
	f.Fuzz(func(t *testing.T, body []byte, typ, name, reason string) {
		subject, got := stack.Describe("m-1", body, map[string]string{
			"type": typ, "person": name, "upload": name, queues.DeadReason: reason,
		})
		if subject == "" {
			t.Errorf("the subject of %q is empty", body)
		}
		if reason != "" && got == "" {
			t.Errorf("reason = %q, want %q", got, reason)
		}
		if strings.Contains(string(body), "requestContext") {
			return
		}
		if got != reason {
			t.Errorf("reason = %q, want %q", got, reason)
		}
	})
}
