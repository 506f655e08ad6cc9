package stages

import (
	"context"
	jsonv1 "encoding/json"
	"errors"
	"fmt"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/queues"
)

// ingester is an *ingest.Ingester.
type ingester interface {
	Ingest(ctx context.Context, o events.Object) error
	Resume(ctx context.Context, from events.Continuation) error
}

// Ingest reads uploaded files.
type Ingest struct {
	Common
	Ingester ingester
}

const ingestSource = "ingest"

// MaxSorting is the maximum size of the temporary files of an upload, in bytes. They have about three quarters of the
// size of the uncompressed file, so files of up to about 1.4 GB, or 30 million rows, are sorted. Reading, sorting and
// storing 30 million rows takes a third of the function's timeout. Larger files are not sorted: all of their rows are
// written.
const MaxSorting = 1 << 30

// Handle ingests the objects of an S3 event, or resumes the uploads in a batch of the resume queue. S3 invokes it
// asynchronously: after an error Lambda retries the event, and finally sends it to the function's failure destination.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
func (in Ingest) Handle(ctx context.Context, event jsontext.Value) (any, error) {
	var form struct {
		Records []struct {
			EventSource string `json:"eventSource"`
		}
	}
	err := json.Unmarshal(event, &form) // if it is malformed, DecodeS3Event fails, too
	if err == nil && len(form.Records) > 0 && form.Records[0].EventSource == "aws:sqs" {
		var batch lambdaevents.SQSEvent
		if err := jsonv1.Unmarshal(event, &batch); err != nil { // SQSEvent is made for encoding/json
			return nil, fmt.Errorf("decoding a batch of the resume queue: %w", err)
		}
		return in.resume(ctx, batch)
	}
	return nil, in.ingest(ctx, event)
}

// ingest ingests the objects of an S3 event. A failure of one does not stop the others.
func (in Ingest) ingest(ctx context.Context, event jsontext.Value) error {
	objects, err := aws.DecodeS3Event(event)
	errs := []error{in.settle(ctx, err, ingestSource, "S3 event", func() queues.FailedMessage {
		return queues.FailedMessage{Body: event}
	})}
	for _, o := range objects {
		err := in.Ingester.Ingest(ctx, o)
		errs = append(errs, in.settle(ctx, err, ingestSource, o.UploadID(), func() queues.FailedMessage {
			return queues.FailedMessage{Body: event} // the whole event: ingesting its other objects again changes nothing
		}))
	}
	return errors.Join(errs...)
}

// resume continues uploads that an earlier invocation had no time to finish.
func (in Ingest) resume(ctx context.Context, batch lambdaevents.SQSEvent) (lambdaevents.SQSEventResponse, error) {
	errs := make([]error, len(batch.Records))
	for i, m := range batch.Records {
		continuation, err := events.DecodeContinuation([]byte(m.Body))
		if err != nil {
			errs[i] = fmt.Errorf("%w: %w", events.ErrPermanent, err)
			continue
		}
		errs[i] = in.Ingester.Resume(ctx, continuation)
	}
	return in.respond(ctx, ingestSource, batch.Records, errs)
}
