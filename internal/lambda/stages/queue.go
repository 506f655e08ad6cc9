package stages

import (
	"context"
	"errors"
	"fmt"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/metrics"
)

// errNoID is the error of a batch in which a message that must be redelivered has no id. With an empty id in the
// response, Lambda would redeliver the whole batch without counting an error.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
var errNoID = errors.New("a message has no id")

// errAllFailed returns the error of an invocation that failed with every record of its batch; first is the first
// record's. A response that reports all records would count as a success: no metric shows it, and Lambda polls on at
// full speed. An error redelivers the same records, is counted, and slows down polling.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
func errAllFailed(first error) error {
	return fmt.Errorf("every record of the batch failed, the first with: %w", first)
}

// respond settles the messages of a batch, whose handling returned errs, and reports those that must be redelivered. It
// fails if that is the whole batch.
func (c Common) respond(
	ctx context.Context, source string, batch []lambdaevents.SQSMessage, errs []error,
) (lambdaevents.SQSEventResponse, error) {
	response := lambdaevents.SQSEventResponse{BatchItemFailures: []lambdaevents.SQSBatchItemFailure{}}
	var first error
	for i, m := range batch {
		err := c.settle(ctx, errs[i], source, m.MessageId, func() queues.FailedMessage {
			return queues.FailedMessage{Body: []byte(m.Body), Attributes: attributes(m)}
		})
		if err == nil {
			continue
		}
		if m.MessageId == "" {
			return lambdaevents.SQSEventResponse{}, errors.Join(errNoID, err)
		}
		if first == nil {
			first = err
		}
		failure := lambdaevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId}
		response.BatchItemFailures = append(response.BatchItemFailures, failure)
	}
	if n := len(response.BatchItemFailures); n > 0 {
		c.Metrics.Count(metrics.Retries, int64(n))
		if n == len(batch) {
			return lambdaevents.SQSEventResponse{}, errAllFailed(first)
		}
	}
	return response, nil
}

// attributes returns the text attributes of a message. flavorless sends no others.
func attributes(m lambdaevents.SQSMessage) map[string]string {
	texts := make(map[string]string, len(m.MessageAttributes))
	for name, value := range m.MessageAttributes {
		if value.StringValue != nil {
			texts[name] = *value.StringValue
		}
	}
	return texts
}
