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
)

// ingester is an *ingest.Ingester.
type ingester interface {
	Ingest(ctx context.Context, o events.Object) error
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
	errs := []error{in.settle(ctx, err, ingestSource, "S3 event", func() aws.DeadLetter {
		return aws.DeadLetter{Body: event}
	})}
	for _, o := range objects {
		err := in.Ingester.Ingest(ctx, o)
		errs = append(errs, in.settle(ctx, err, ingestSource, o.UploadID(), func() aws.DeadLetter {
			body, _ := json.Marshal(span{Object: o}) // plain members
			return aws.DeadLetter{Body: body}
		}))
	}
	return errors.Join(errs...)
}

// span is what is left to do of an upload: its object, from a row on. Put into the resume queue, it is done.
type span struct {
	events.Object `json:",inline"`
	Offset        int64 `json:"offset"` // of the first row left, in the decompressed file
}

// resume goes on with uploads that an earlier invocation had no time to finish.
func (in Ingest) resume(ctx context.Context, batch lambdaevents.SQSEvent) (lambdaevents.SQSEventResponse, error) {
	errs := make([]error, len(batch.Records))
	for i, m := range batch.Records {
		errs[i] = in.ingestSpan(ctx, []byte(m.Body))
	}
	return in.answer(ctx, ingestSource, batch.Records, errs)
}

// errOffset: the core can't yet begin in the middle of a file. The span waits in the queue, and then in its dead letters.
var errOffset = errors.New("resuming from an offset is not possible yet")

// ingestSpan is the seam to the core's resuming: here a span of the whole file is all that is understood.
func (in Ingest) ingestSpan(ctx context.Context, body []byte) error {
	var s span
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("%w: decoding a span: %w", events.ErrPermanent, err)
	}
	switch {
	case s.Bucket == "" || s.Key == "" || s.Offset < 0:
		return fmt.Errorf("%w: decoding a span: it lacks the bucket or the key, or its offset is negative", events.ErrPermanent)
	case s.Offset > 0:
		return fmt.Errorf("upload %s from byte %d on: %w", s.UploadID(), s.Offset, errOffset)
	}
	return in.Ingester.Ingest(ctx, s.Object)
}
