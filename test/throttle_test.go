package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/test/bench/fakeaws"
	"github.com/flavorless/flavorless/test/faultproxy"
	"github.com/flavorless/flavorless/test/moto"
)

// TestAnnounceUnderThrottling invokes announce with a batch of the stream while SNS throttles so much that one
// invocation cannot publish all of it, and repeats it from the record that announce reports, as Lambda does. Time is
// counted in requests.
func TestAnnounceUnderThrottling(t *testing.T) {
	const records, people, tick, deadline = 300, 40, 50 * time.Millisecond, 12 // requests

	fake := httptest.NewServer(fakeaws.New())
	defer fake.Close()
	var requests atomic.Int64
	var end atomic.Pointer[context.CancelFunc]
	clock := func() time.Time {
		if requests.Add(1)%deadline == 0 {
			(*end.Load())()
		}
		return time.UnixMilli(requests.Load() * tick.Milliseconds())
	}
	proxy := faultproxy.New(fake.URL, 1, faultproxy.Rule{Operation: "PublishBatch", Fault: faultproxy.Rate(100, clock)})
	server := httptest.NewServer(proxy)
	defer server.Close()

	access := moto.Access(server.URL)
	withoutRetries := func(o *sns.Options) { o.Retryer = aws.NopRetryer{} } // retries would wait long
	client := sns.NewFromConfig(access.Config("SNS"), withoutRetries)
	log := slog.New(slog.DiscardHandler)
	changes := topics.Topic{Client: client, ARN: "arn:aws:sns:us-east-1:123456789012:changes"}
	announce := stages.Announce{
		Common:    stages.Common{Metrics: metrics.NewEMF(io.Discard, "announce", "test", time.Now), Log: log},
		Announcer: &ingest.Announcer{Changes: changes, Log: log},
	}

	object := events.Object{Bucket: "b", Key: "k", ETag: "e", Sequencer: "1", Time: time.UnixMilli(1_795_000_000_000)}
	origin, err := object.Origin()
	if err != nil {
		t.Fatal(err)
	}
	var event lambdaevents.DynamoDBEvent
	for i := range records {
		event.Records = append(event.Records, lambdaevents.DynamoDBEventRecord{Change: lambdaevents.DynamoDBStreamRecord{
			SequenceNumber: fmt.Sprint(i),
			NewImage: map[string]lambdaevents.DynamoDBAttributeValue{
				"person":  lambdaevents.NewStringAttribute(fmt.Sprint("person ", i%people)),
				"flavor":  lambdaevents.NewStringAttribute(fmt.Sprint("flavor ", i)),
				"version": lambdaevents.NewStringAttribute(string(origin.At(int64(i)))),
			},
		}})
	}
	invocations := 0
	for len(event.Records) > 0 {
		invocations++
		ctx, cancel := context.WithCancel(t.Context())
		end.Store(&cancel)
		response, err := announce.Handle(ctx, event)
		cancel()
		if err != nil || invocations > records/10 {
			t.Fatalf("invocation %d made no progress: %d records are left, error %v", invocations, len(event.Records), err)
		}
		if len(response.BatchItemFailures) == 0 {
			break
		}
		first := slices.IndexFunc(event.Records, func(r lambdaevents.DynamoDBEventRecord) bool {
			return r.Change.SequenceNumber == response.BatchItemFailures[0].ItemIdentifier
		})
		if first <= 0 {
			t.Fatalf("invocation %d reports record %d as the first one that failed, want a later one", invocations, first)
		}
		event.Records = event.Records[first:]
		t.Logf("invocation %d announced %d records", invocations, first)
	}

	answer, err := http.Get(server.URL + "/messages")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var messages []string
	if err := json.NewDecoder(answer.Body).Decode(&messages); err != nil {
		t.Fatal(err)
	}
	latest, seen := map[string]string{}, map[string]bool{} // versions
	for _, m := range messages {
		change, err := events.DecodeChange([]byte(m))
		if err != nil {
			t.Fatal(err)
		}
		version := string(change.Version)
		if !seen[version] && version < latest[change.Person] {
			t.Errorf("%s: version %s was announced after %s", change.Person, version, latest[change.Person])
		}
		seen[version], latest[change.Person] = true, max(version, latest[change.Person])
	}
	if len(seen) != records {
		t.Errorf("%d changes were announced, want %d", len(seen), records)
	}
	// Up to four requests are in flight when an invocation ends; their changes may be announced again.
	if extra := len(messages) - records; extra > 40*invocations {
		t.Errorf("%d changes were announced again in %d invocations, want at most %d", extra, invocations, 40*invocations)
	}
}
