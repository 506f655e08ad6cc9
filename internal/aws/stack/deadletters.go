package stack

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
	internalaws "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/operator"
)

// deadQueue is a dead-letter queue of the stack. resources/messaging.yml says how messages get there.
type deadQueue struct {
	name, output  string
	defaultReason string // for messages that carry no reason

	// requeue puts one message back into the pipeline. It is nil for the dead-letter queue of another queue, whose
	// messages SQS itself moves back.
	requeue func(*Stack, context.Context, letter) error
}

var deadQueues = []deadQueue{
	{"apply-dead", outputApplyDead, "apply failed at every try; see its log", nil},
	{"resume-dead", outputResumeDead, "ingest failed at every try to continue the file; see its log", nil},
	{"updates-undelivered", outputUpdatesUndelivered, "SNS could not deliver it to its queue", (*Stack).republish},
	{"ingest-dead", outputIngestDead, "ingest rejected it; see its log", (*Stack).ingestAgain},
	{"announce-dead", outputAnnounceDead, "announce rejected it; see its log", (*Stack).announceAgain},
}

// DeadQueues implements [operator.DeadLetters]. The queues' names in the account begin with the name of the stack, as
// in "flavorless-dev-apply-dead".
func (*Stack) DeadQueues() []string {
	names := make([]string, len(deadQueues))
	for i, q := range deadQueues {
		names[i] = q.name
	}
	return names
}

func (s *Stack) deadQueue(name string) (q deadQueue, url string, err error) {
	for _, q := range deadQueues {
		if q.name == name {
			url, err := s.output(q.output)
			return q, url, err
		}
	}
	return q, "", fmt.Errorf("there is no dead-letter queue %q; there are %s", name, strings.Join(s.DeadQueues(), ", "))
}

// peekTime is for how many seconds messages are hidden from other receivers when they are only listed.
const peekTime = 30

// DeadQueue implements [operator.DeadLetters].
func (s *Stack) DeadQueue(ctx context.Context, name string, limit int) (operator.DeadQueue, error) {
	q, url, err := s.deadQueue(name)
	if err != nil {
		return operator.DeadQueue{}, err
	}
	fail := func(err error) (operator.DeadQueue, error) {
		return operator.DeadQueue{}, fmt.Errorf("reading %s: %w", name, err)
	}
	dead := operator.DeadQueue{Queue: name, Letters: []operator.DeadLetter{}}
	attributes, _, err := s.attributes(ctx, url)
	if err != nil {
		return fail(err)
	}
	if dead.Waiting, err = depth(attributes); err != nil {
		return fail(err)
	}
	var seen []letter
	defer func() { s.release(context.WithoutCancel(ctx), url, seen) }()
	for limit = min(limit, int(dead.Waiting)); len(dead.Letters) < limit; {
		letters, err := s.receive(ctx, url, min(10, limit-len(dead.Letters)), peekTime)
		if err != nil {
			return fail(err)
		}
		if len(letters) == 0 {
			break
		}
		seen = append(seen, letters...)
		for _, l := range letters {
			subject, reason := l.describe()
			dead.Letters = append(dead.Letters, operator.DeadLetter{
				Sent: l.sent, Subject: subject, Reason: cmp.Or(reason, q.defaultReason),
			})
		}
	}
	return dead, nil
}

// depth returns the approximate number of messages in a queue with these attributes: those that can be received, and
// those that were received and not deleted yet.
func depth(attributes map[string]string) (n int64, err error) {
	for _, name := range []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	} {
		count, err := strconv.ParseInt(attributes[string(name)], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("attribute %s of the queue: %w", name, err)
		}
		n += count
	}
	return n, nil
}

// attributes returns the attributes of a queue, and the time at which SQS read them by its own clock.
func (s *Stack) attributes(ctx context.Context, url string) (map[string]string, time.Time, error) {
	out, err := s.sqs().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	now, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		now = time.Now()
	}
	return out.Attributes, now, nil
}

// letter is a message received from a dead-letter queue.
type letter struct {
	id, handle string
	body       []byte
	attributes map[string]string
	sent       time.Time // to the dead-letter queue
}

// receive receives up to limit messages and hides them from other receivers for some seconds. Long polling queries all
// servers of the queue, so an empty result means that the queue is empty.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
func (s *Stack) receive(ctx context.Context, url string, limit int, seconds int32) ([]letter, error) {
	out, err := s.sqs().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: int32(limit), WaitTimeSeconds: 1, VisibilityTimeout: seconds,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp},
	})
	if err != nil {
		return nil, err
	}
	letters := make([]letter, len(out.Messages))
	for i, m := range out.Messages {
		letters[i] = letter{
			id: aws.ToString(m.MessageId), handle: aws.ToString(m.ReceiptHandle), body: []byte(aws.ToString(m.Body)),
			attributes: map[string]string{},
		}
		for name, value := range m.MessageAttributes {
			if value.StringValue != nil {
				letters[i].attributes[name] = *value.StringValue
			}
		}
		sent := m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)]
		if ms, err := strconv.ParseInt(sent, 10, 64); err == nil {
			letters[i].sent = time.UnixMilli(ms)
		}
	}
	return letters, nil
}

// release makes received messages visible again. If that fails, SQS does it when their visibility timeout ends.
func (s *Stack) release(ctx context.Context, url string, letters []letter) {
	client := s.sqs()
	for batch := range slices.Chunk(letters, 10) {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url}
		for i, l := range batch {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &l.handle,
			})
		}
		_, _ = client.ChangeMessageVisibilityBatch(ctx, in)
	}
}

// describe returns what a message is about and why it is a dead letter. The reason is empty if it is not known.
func (l letter) describe() (subject, reason string) {
	reason = l.attributes[queues.DeadReason]
	if f, ok := l.failure(); ok {
		subject, reason = f.describe()
		return cmp.Or(subject, l.id), reason
	}
	switch l.attributes["type"] {
	case events.ChangeType:
		return "change of " + l.attributes["person"], reason
	case events.UpdatesType, events.ContinuationType:
		return "upload " + l.attributes["upload"], reason
	}
	return cmp.Or(objectKeys(l.body), l.attributes[queues.DeadID], l.id), reason
}

// objectKeys returns the keys of the objects in an S3 event, or "" if the body is none.
func objectKeys(body []byte) string {
	objects, err := internalaws.DecodeS3Event(body)
	if err != nil {
		return ""
	}
	keys := make([]string, len(objects))
	for i, o := range objects {
		keys[i] = o.Key
	}
	return strings.Join(keys, ", ")
}

// failure is what Lambda itself sends to a function's failure destination. For an asynchronous invocation it holds the
// payload; for a batch of a stream it holds only the range of the records.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
// https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
type failure struct {
	Context struct {
		Condition string `json:"condition"`
	} `json:"requestContext"`
	Request  jsontext.Value `json:"requestPayload"`
	Response jsontext.Value `json:"responsePayload"`
	Range    *streamRange   `json:"DDBStreamBatchInfo"`
}

func (l letter) failure() (f failure, ok bool) {
	err := json.Unmarshal(l.body, &f)
	return f, err == nil && f.Context.Condition != ""
}

func (f failure) describe() (subject, reason string) {
	if f.Range != nil {
		return f.Range.describe(), f.Context.Condition
	}
	reason = f.Context.Condition
	var response struct {
		Error string `json:"errorMessage"`
	}
	// A function that was killed has no response.
	if json.Unmarshal(f.Response, &response) == nil && response.Error != "" {
		reason += ": " + response.Error
	}
	return objectKeys(f.Request), reason
}
