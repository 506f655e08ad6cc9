package stages

import (
	"context"
	"errors"
	"fmt"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/metrics"
)

// errNoID: a message can't be reported as failed. An answer with an empty id, or one that is not in the batch, means to
// Lambda that all of the batch failed; better to say so oneself.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
var errNoID = errors.New("a message has no id")

// errAllFailed makes an error of the invocation of the first error of a batch of which every message has to come again. To Lambda
// a reported failure is a success: no metric counts it, and the poller goes on at full speed. An error brings back the same
// messages, counts as one, and makes the poller slow down.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
func errAllFailed(first error) error {
	return fmt.Errorf("every record of the batch failed, the first with: %w", first)
}

// answer settles the messages of a batch, each with its own error, and reports those that have to come again. If that is all of
// them, it returns an error.
func (c Common) answer(ctx context.Context, source string, batch []lambdaevents.SQSMessage, errs []error) (lambdaevents.SQSEventResponse, error) {
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
		response.BatchItemFailures = append(response.BatchItemFailures, lambdaevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
	}
	if n := len(response.BatchItemFailures); n > 0 {
		c.Metrics.Count(metrics.Retries, int64(n))
		if n == len(batch) {
			return lambdaevents.SQSEventResponse{}, errAllFailed(first)
		}
	}
	return response, nil
}

// attributes gives those that are text; we have no others.
func attributes(m lambdaevents.SQSMessage) map[string]string {
	texts := make(map[string]string, len(m.MessageAttributes))
	for name, value := range m.MessageAttributes {
		if value.StringValue != nil {
			texts[name] = *value.StringValue
		}
	}
	return texts
}
