package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/feed"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/metrics"
)

// announcer is an *ingest.Announcer.
type announcer interface {
	// Announce returns one error a change.
	Announce(ctx context.Context, changes []events.Change) []error
}

// Announce tells subscribers what changed in the table.
type Announce struct {
	Common
	Announcer announcer
}

const announceSource = "announce"

// Handle takes a batch of the favorites' stream. Lambda goes on behind what is reported as failed only when that has
// succeeded, so a record that never can must not be reported: it would hold up all the others of its shard until it is
// given up, and what then reaches the function's failure queue is not the record but its place in a stream that forgets
// after a day. https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
//
// It reports the first record that has to come again, since Lambda repeats that one and all behind it.
func (a Announce) Handle(ctx context.Context, event lambdaevents.DynamoDBEvent) (lambdaevents.DynamoDBEventResponse, error) {
	done := lambdaevents.DynamoDBEventResponse{BatchItemFailures: []lambdaevents.DynamoDBBatchItemFailure{}}
	records := make([]record, len(event.Records))
	for i, r := range event.Records {
		records[i] = decode(r)
	}
	errs := a.announce(ctx, records)
	for i, r := range event.Records {
		err := a.settle(ctx, errs[i], announceSource, r.EventID, func() queues.FailedMessage { return records[i].letter(r) })
		if err == nil {
			continue
		}
		number := r.Change.SequenceNumber
		if number == "" {
			return done, errors.Join(errNoID, err)
		}
		a.Metrics.Count(metrics.Retries, 1)
		if i == 0 && !slices.Contains(errs, nil) {
			return done, errAllFailed(err)
		}
		done.BatchItemFailures = append(done.BatchItemFailures, lambdaevents.DynamoDBBatchItemFailure{ItemIdentifier: number})
		return done, nil
	}
	return done, nil
}

// announce publishes what these records changed, and returns one error per record.
func (a Announce) announce(ctx context.Context, records []record) []error {
	errs := make([]error, len(records))
	changes := make([]events.Change, 0, len(records))
	index := make([]int, 0, len(records)) // of each change among records
	for i, r := range records {
		if errs[i] = r.err; r.err == nil && r.changed {
			changes, index = append(changes, r.change), append(index, i)
		}
	}
	if len(changes) == 0 {
		return errs
	}
	for n, err := range (metrics.Announcer{Next: a.Announcer, Recorder: a.Metrics}).Announce(ctx, changes) {
		errs[index[n]] = err
	}
	return errs
}

// record is what a stream record says.
type record struct {
	change  events.Change
	changed bool
	err     error
}

func decode(r lambdaevents.DynamoDBEventRecord) record {
	change, changed, err := feed.Record{Old: image(r.Change.OldImage), New: image(r.Change.NewImage)}.Change()
	if err != nil {
		err = fmt.Errorf("%w: %w", events.ErrPermanent, err)
	}
	return record{change, changed, err}
}

// image gives the text attributes of an item; nil if there is none.
func image(item map[string]lambdaevents.DynamoDBAttributeValue) feed.Image {
	if item == nil {
		return nil
	}
	texts := feed.Image{}
	for name, value := range item {
		if value.DataType() == lambdaevents.DataTypeString {
			texts[name] = value.String()
		}
	}
	return texts
}

// letter keeps the change as it would have been published, so that redriving it is publishing it; or else the record.
func (r record) letter(raw lambdaevents.DynamoDBEventRecord) queues.FailedMessage {
	if r.changed {
		m := r.change.Message()
		return queues.FailedMessage{Body: m.Body, Attributes: m.Attributes}
	}
	body, _ := json.Marshal(raw) // came from JSON
	return queues.FailedMessage{Body: body}
}
