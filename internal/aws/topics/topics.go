// Package topics publishes messages to SNS.
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
	internalaws "github.com/flavorless/flavorless/internal/aws"
)

// Limits of a PublishBatch request. A single message may be as large as a request.
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
const (
	maxEntries = 10        // messages
	maxRequest = 256 << 10 // bytes of bodies and attributes
)

// snsAPI is the part of the SDK's client that Topic uses.
type snsAPI interface {
	PublishBatch(ctx context.Context, in *sns.PublishBatchInput,
		opts ...func(*sns.Options)) (*sns.PublishBatchOutput, error)
}

// Client returns a client of SNS.
func Client(a internalaws.Access) *sns.Client { return sns.NewFromConfig(a.Config("SNS")) }

// Topic is an SNS topic.
type Topic struct {
	Client snsAPI
	ARN    string
}

// Publish publishes messages, several in one request, and returns one error per message: nil if SNS has stored it,
// [events.ErrPermanent] if SNS will never accept it, and any other error if the caller should retry.
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
		if errs[i] = Validate(m); errs[i] != nil {
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

// send publishes the messages at these indexes in one request, and sets the error of each.
func (t Topic) send(ctx context.Context, messages []events.Message, request []int, errs []error) {
	entries := make([]types.PublishBatchRequestEntry, len(request))
	for n, i := range request {
		entries[n] = types.PublishBatchRequestEntry{
			Id: aws.String(strconv.Itoa(n)), Message: aws.String(string(messages[i].Body)),
			MessageAttributes: snsAttributes(messages[i].Attributes),
		}
	}
	out, err := t.Client.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: aws.String(t.ARN),
		PublishBatchRequestEntries: entries})
	if err != nil {
		t.handleError(ctx, messages, request, errs, err)
		return
	}
	// A message that the response does not list may not be stored.
	for _, i := range request {
		errs[i] = errors.New("publishing a message: the response of SNS does not list it")
	}
	indexOf := func(id *string) (int, bool) {
		n, err := strconv.Atoi(aws.ToString(id))
		if err != nil || n < 0 || n >= len(request) {
			return 0, false
		}
		return request[n], true
	}
	for _, stored := range out.Successful {
		if i, ok := indexOf(stored.Id); ok {
			errs[i] = nil
		}
	}
	for _, failed := range out.Failed {
		if i, ok := indexOf(failed.Id); ok {
			errs[i] = fmt.Errorf("publishing a message: %s: %s", aws.ToString(failed.Code), aws.ToString(failed.Message))
			if failed.SenderFault {
				errs[i] = fmt.Errorf("%w: %w", events.ErrPermanent, errs[i])
			}
		}
	}
}

// handleError handles a request that failed as a whole. If SNS refused its content, a single message may be the cause,
// so each message is sent in its own request.
func (t Topic) handleError(ctx context.Context, messages []events.Message, request []int, errs []error, err error) {
	err = fmt.Errorf("publishing %d messages to %s: %w", len(request), t.ARN, err)
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

// contentRefused reports whether SNS refused the content of a request. A missing topic or missing permission is a fault
// of the deployment: messages are retried until the next deployment fixes it.
func contentRefused(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "InvalidParameter", "ParameterValueInvalid", "ValidationException", "BatchRequestTooLong":
		// SNS has no other way to report an invalid topic, which is also a fault of the deployment.
		return !strings.Contains(api.ErrorMessage(), "TopicArn")
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
