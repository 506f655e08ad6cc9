package stages

import (
	"context"
	"errors"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/internal/aws/queues"
)

// errNoID: a message can't be reported as failed. An answer with an empty id, or one that is not in the batch, means to
// Lambda that all of the batch failed; better to say so oneself.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
var errNoID = errors.New("a message has no id")

// answer settles the messages of a batch, each with its own error, and reports those that have to come again.
func (c Common) answer(ctx context.Context, source string, batch []lambdaevents.SQSMessage, errs []error) (lambdaevents.SQSEventResponse, error) {
	response := lambdaevents.SQSEventResponse{BatchItemFailures: []lambdaevents.SQSBatchItemFailure{}}
	for i, m := range batch {
		err := c.settle(ctx, errs[i], source, m.MessageId, func() queues.DeadLetter {
			return queues.DeadLetter{Body: []byte(m.Body), Attributes: attributes(m)}
		})
		if err == nil {
			continue
		}
		if m.MessageId == "" {
			return lambdaevents.SQSEventResponse{}, errors.Join(errNoID, err)
		}
		response.BatchItemFailures = append(response.BatchItemFailures, lambdaevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
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
