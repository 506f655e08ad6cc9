// Package queues sends dead letters to SQS. Lambda itself reads the queues of the pipeline.
package queues

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	internalaws "github.com/flavorless/flavorless/internal/aws"
)

// Attributes that a dead letter has in addition to those of the original message.
const (
	DeadReason = "dead-reason" // why it failed
	DeadSource = "dead-source" // the name of the function that failed
	DeadID     = "dead-id"     // the id of the original message or event
)

// FailedMessage is a message or event that can never be processed.
type FailedMessage struct {
	Body       []byte
	Attributes map[string]string // may be nil
	Reason     error             // why it failed
	Source     string            // the name of the function that failed
	ID         string
}

// sqsAPI is the part of *sqs.Client that DeadLetters needs.
type sqsAPI interface {
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, opts ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
}

// Client returns a client of SQS.
func Client(a internalaws.Access) *sqs.Client { return sqs.NewFromConfig(a.Config("SQS")) }

// DeadLetters is a dead-letter queue. The redrive policy of a queue would move its messages there as well, but only
// after all their tries, and without a reason.
type DeadLetters struct {
	Client sqsAPI
	URL    string
}

// Put sends a message to the queue. It leaves the body unchanged, so that a redrive only needs to move the message
// back.
func (d DeadLetters) Put(ctx context.Context, m FailedMessage) error {
	body := string(m.Body)
	if body == "" { // SQS rejects empty messages
		body = "(empty)"
	}
	_, err := d.Client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: aws.String(d.URL), MessageBody: aws.String(strings.ToValidUTF8(body, "\ufffd")),
		MessageAttributes: m.deadAttributes(),
	})
	if err != nil {
		return fmt.Errorf("sending %s to the dead-letter queue: %w", m.ID, errors.Join(err, m.Reason))
	}
	return nil
}

// maxReason limits the length of a reason in bytes, so that it takes little of the space for the body.
const maxReason = 1 << 10

// deadAttributes returns the attributes of the message as a dead letter. The ones that it gets as a dead letter take
// precedence if there are more attributes than SNS delivers.
func (m FailedMessage) deadAttributes() map[string]types.MessageAttributeValue {
	values := map[string]types.MessageAttributeValue{}
	add := func(name, value string) {
		if _, ok := values[name]; !ok && value != "" && len(values) < internalaws.MaxAttributes {
			values[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
		}
	}
	if m.Reason != nil {
		add(DeadReason, attributeText(m.Reason.Error()))
	}
	add(DeadSource, attributeText(m.Source))
	add(DeadID, attributeText(m.ID))
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		add(name, m.Attributes[name])
	}
	return values
}

// attributeText replaces characters that SQS does not allow in an attribute, and shortens s to maxReason bytes.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func attributeText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffe || r == 0xffff {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") // not half a character
	}
	return s
}
