// Package topics publishes to SNS.
package topics

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"github.com/flavorless/flavorless/events"
	ours "github.com/flavorless/flavorless/internal/aws"
)

// What SNS takes in one request of PublishBatch: so many messages, and so many bytes of bodies and attributes together.
// One message alone may be as large as a request.
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
const (
	maxEntries = 10
	maxRequest = 256 << 10
)

// snsAPI is the client, as far as Topic needs it.
type snsAPI interface {
	PublishBatch(ctx context.Context, in *sns.PublishBatchInput, opts ...func(*sns.Options)) (*sns.PublishBatchOutput, error)
}

// Client is a client of the topics.
func Client(a ours.Access) *sns.Client { return sns.NewFromConfig(a.Config("SNS")) }

// Topic is an SNS topic.
type Topic struct {
	Client snsAPI
	ARN    string
}

// Publish sends messages, several in a request, and returns one error a message: nil for those that SNS has stored,
// events.ErrPermanent for those that it will never take, any other for those worth another try.
func (t Topic) Publish(ctx context.Context, messages []events.Message) []error {
	errs := make([]error, len(messages))
	var request []int // indexes of messages
	size := 0
	flush := func() {
		if len(request) > 0 {
			t.send(ctx, messages, request, errs)
		}
		request, size = nil, 0
	}
	for i, m := range messages {
		if errs[i] = sendable(m); errs[i] != nil {
			continue
		}
		if len(request) == maxEntries || size+m.Size() > maxRequest {
			flush()
		}
		request, size = append(request, i), size+m.Size()
	}
	flush()
	return errs
}

// send makes one request of the messages at these indexes, and notes what became of each.
func (t Topic) send(ctx context.Context, messages []events.Message, request []int, errs []error) {
	entries := make([]types.PublishBatchRequestEntry, len(request))
	for n, i := range request {
		entries[n] = types.PublishBatchRequestEntry{
			Id: aws.String(strconv.Itoa(n)), Message: aws.String(string(messages[i].Body)), MessageAttributes: snsAttributes(messages[i].Attributes),
		}
	}
	out, err := t.Client.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: aws.String(t.ARN), PublishBatchRequestEntries: entries})
	if err != nil {
		t.refused(ctx, messages, request, errs, err)
		return
	}
	// Silence about a message is no promise: only what is named as stored is stored.
	for _, i := range request {
		errs[i] = errors.New("publishing: SNS says nothing of the message")
	}
	at := func(id *string) (int, bool) {
		n, err := strconv.Atoi(aws.ToString(id))
		if err != nil || n < 0 || n >= len(request) {
			return 0, false
		}
		return request[n], true
	}
	for _, stored := range out.Successful {
		if i, ok := at(stored.Id); ok {
			errs[i] = nil
		}
	}
	for _, failed := range out.Failed {
		if i, ok := at(failed.Id); ok {
			errs[i] = fmt.Errorf("publishing: %s: %s", aws.ToString(failed.Code), aws.ToString(failed.Message))
			if failed.SenderFault {
				errs[i] = fmt.Errorf("%w: %w", events.ErrPermanent, errs[i])
			}
		}
	}
}

// refused settles a request that failed as a whole. If its content was at fault, one message has spoilt it for all the
// others: each then goes alone.
func (t Topic) refused(ctx context.Context, messages []events.Message, request []int, errs []error, err error) {
	err = fmt.Errorf("publishing: %w", err)
	if !contentRefused(err) {
		for _, i := range request {
			errs[i] = err
		}
		return
	}
	if len(request) == 1 {
		errs[request[0]] = fmt.Errorf("%w: %w", events.ErrPermanent, err)
		return
	}
	for n := range request {
		t.send(ctx, messages, request[n:n+1], errs)
	}
}

// contentRefused tells whether the service refused what was in the request. A topic that is not there, or that we must
// not publish to, is a fault of the deployment: it is mended by deploying, and until then messages had better wait.
func contentRefused(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "InvalidParameter", "ParameterValueInvalid", "ValidationException", "BatchRequestTooLong":
		return !strings.Contains(api.ErrorMessage(), "TopicArn") // which is the deployment's fault, too
	}
	return false
}

func snsAttributes(attributes map[string]string) map[string]types.MessageAttributeValue {
	values := make(map[string]types.MessageAttributeValue, len(attributes))
	for name, value := range attributes {
		values[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
	}
	return values
}
