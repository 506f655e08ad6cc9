// Package queues puts dead letters into SQS. (Working queues are read by Lambda itself.)
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

	ours "github.com/flavorless/flavorless/internal/aws"
)

// Attributes that a dead letter has besides those of the message that it was.
const (
	DeadReason = "dead-reason" // why it is one, for people
	DeadSource = "dead-source" // what it failed in: a function's name
	DeadID     = "dead-id"     // of the message or event that it was
)

// DeadLetter is a message that can never be worked off.
type DeadLetter struct {
	Body       []byte
	Attributes map[string]string // of the message; may be nil
	Reason     error
	Source     string
	ID         string
}

// sqsAPI is the client, as far as DeadLetters needs it.
type sqsAPI interface {
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, opts ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
}

// Client is a client of the queues.
func Client(a ours.Access) *sqs.Client { return sqs.NewFromConfig(a.Config("SQS")) }

// DeadLetters is the queue where messages wait for people. A queue's own redrive policy would get them there, too, but
// only after all their tries, and without a reason.
type DeadLetters struct {
	Client sqsAPI
	URL    string
}

// Put adds a dead letter. Its body is unchanged, so that redriving it is moving it back.
func (d DeadLetters) Put(ctx context.Context, letter DeadLetter) error {
	body := string(letter.Body)
	if body == "" { // SQS takes none
		body = "(empty)"
	}
	_, err := d.Client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: aws.String(d.URL), MessageBody: aws.String(strings.ToValidUTF8(body, "\ufffd")), MessageAttributes: letter.attributes(),
	})
	if err != nil {
		return fmt.Errorf("putting %s into the dead letters: %w", letter.ID, errors.Join(err, letter.Reason))
	}
	return nil
}

// maxReason is how much of a reason is kept, in bytes: enough for people, little beside the largest body.
const maxReason = 1 << 10

// attributes adds the letter's own. They come first when there is not enough room for all.
func (l DeadLetter) attributes() map[string]types.MessageAttributeValue {
	values := map[string]types.MessageAttributeValue{}
	add := func(name, value string) {
		if _, ok := values[name]; !ok && value != "" && len(values) < ours.MaxAttributes {
			values[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
		}
	}
	if l.Reason != nil {
		add(DeadReason, legible(l.Reason.Error()))
	}
	add(DeadSource, legible(l.Source))
	add(DeadID, legible(l.ID))
	for _, name := range slices.Sorted(maps.Keys(l.Attributes)) {
		add(name, l.Attributes[name])
	}
	return values
}

// legible makes s what an attribute may be: so long, and of characters that XML knows.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func legible(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffe || r == 0xffff {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") // no half of a character
	}
	return s
}
