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

// Handle takes what S3 announces, or a batch of the resume queue. S3 invokes it asynchronously: an error lets Lambda
// invoke it again, with the same event, and in the end puts the event where the function's failures go.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
func (in Ingest) Handle(ctx context.Context, event jsontext.Value) (any, error) {
	var form struct {
		Records []struct {
			EventSource string `json:"eventSource"`
		}
	}
	// What is malformed is told by the decoders below.
	if err := json.Unmarshal(event, &form); err == nil && len(form.Records) > 0 && form.Records[0].EventSource == "aws:sqs" {
		var batch lambdaevents.SQSEvent
		if err := jsonv1.Unmarshal(event, &batch); err != nil { // the library's types are made for it
			return nil, fmt.Errorf("decoding a batch of the resume queue: %w", err)
		}
		return in.resume(ctx, batch)
	}
	return nil, in.announced(ctx, event)
}

// announced ingests the objects of an S3 event. Each is tried, whatever becomes of the others.
func (in Ingest) announced(ctx context.Context, event jsontext.Value) error {
	objects, err := aws.DecodeS3Event(event)
	errs := []error{in.settle(ctx, err, ingestSource, "S3 event", func() queues.FailedMessage {
		return queues.FailedMessage{Body: event}
	})}
	for _, o := range objects {
		err := in.Ingester.Ingest(ctx, o)
		errs = append(errs, in.settle(ctx, err, ingestSource, o.UploadID(), func() queues.FailedMessage {
			return queues.FailedMessage{Body: event} // whole: to those of its objects that are done, it says nothing new
		}))
	}
	return errors.Join(errs...)
}

// resume goes on with uploads that an earlier invocation had no time to finish.
func (in Ingest) resume(ctx context.Context, batch lambdaevents.SQSEvent) (lambdaevents.SQSEventResponse, error) {
	errs := make([]error, len(batch.Records))
	for i, m := range batch.Records {
		span, err := events.DecodeContinuation([]byte(m.Body))
		if err != nil {
			errs[i] = fmt.Errorf("%w: %w", events.ErrPermanent, err)
			continue
		}
		errs[i] = in.Ingester.Resume(ctx, span)
	}
	return in.answer(ctx, ingestSource, batch.Records, errs)
}
