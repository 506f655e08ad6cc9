package stages

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/feed"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/metrics"
)

// announcer is an *ingest.Announcer.
type announcer interface {
	// Announce returns one error per change.
	Announce(ctx context.Context, changes []events.Change) []error
}

// Announce publishes the changes of the table.
type Announce struct {
	Common
	Announcer announcer
}

const announceSource = "announce"

// Handle announces a batch of the favorites table's stream. It reports only the first record that must be redelivered:
// Lambda redelivers that one and all records behind it.
//
// A record that can never succeed is not reported. It would block its shard until Lambda gives it up, and what then
// reaches the function's failure destination is not the record but its position in a stream that is kept for a day.
// https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
func (a Announce) Handle(
	ctx context.Context, event lambdaevents.DynamoDBEvent,
) (lambdaevents.DynamoDBEventResponse, error) {
	response := lambdaevents.DynamoDBEventResponse{BatchItemFailures: []lambdaevents.DynamoDBBatchItemFailure{}}
	records := make([]record, len(event.Records))
	for i, r := range event.Records {
		records[i] = decode(r)
	}
	errs := a.announce(ctx, records)
	for i, r := range event.Records {
		letter := func() queues.FailedMessage { return records[i].deadLetter(r) }
		err := a.settle(ctx, errs[i], announceSource, r.EventID, letter)
		if err == nil {
			continue
		}
		number := r.Change.SequenceNumber
		if number == "" {
			return response, errors.Join(errNoID, err)
		}
		a.Metrics.Count(metrics.Retries, 1)
		if i == 0 && !slices.Contains(errs, nil) {
			return response, errAllFailed(err)
		}
		failure := lambdaevents.DynamoDBBatchItemFailure{ItemIdentifier: number}
		response.BatchItemFailures = append(response.BatchItemFailures, failure)
		return response, nil
	}
	return response, nil
}

// announce publishes the changes in records. It returns one error per record.
func (a Announce) announce(ctx context.Context, records []record) []error {
	errs := make([]error, len(records))
	changes := make([]events.Change, 0, len(records))
	index := make([]int, 0, len(records)) // index[n] is the record of changes[n]
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

// record is a decoded stream record.
type record struct {
	change  events.Change
	changed bool // whether the record changed a flavor
	err     error
}

func decode(r lambdaevents.DynamoDBEventRecord) record {
	change, changed, err := feed.Record{Old: image(r.Change.OldImage), New: image(r.Change.NewImage)}.Change()
	return record{change, changed, err}
}

// image returns the text attributes of an item, or nil if there is no item.
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

// deadLetter returns the change as the message that was to be published, so that redriving publishes it. If the record
// can't be decoded, it returns the raw record.
func (r record) deadLetter(raw lambdaevents.DynamoDBEventRecord) queues.FailedMessage {
	if r.changed {
		m := r.change.Message()
		return queues.FailedMessage{Body: m.Body, Attributes: m.Attributes}
	}
	body, _ := json.Marshal(raw) // can't fail: it was decoded from JSON
	return queues.FailedMessage{Body: body}
}
