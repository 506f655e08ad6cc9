package stack

import (
	"cmp"
	"context"
	"fmt"
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
	ours "github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/aws/queues"
)

// deadQueue is a queue where messages wait that could not be handled. resources/messaging.yml tells how they get there.
type deadQueue struct {
	name, output string
	unsaid       string // why a message is here that does not say so itself
	restore      func(*Stack, context.Context, letter) error
}

// A queue without restore is the dead-letter queue of another queue, and SQS itself moves its messages back.
var deadQueues = []deadQueue{
	{"apply-dead", outputApplyDead, "apply failed at every try; its log tells why", nil},
	{"resume-dead", outputResumeDead, "ingest failed at every try to read on; its log tells why", nil},
	{"updates-undelivered", outputUpdatesUndelivered, "SNS could not bring it to its queue", (*Stack).republish},
	{"ingest-dead", outputIngestDead, "ingest set it aside; its log tells why", (*Stack).ingestAgain},
	{"announce-dead", outputAnnounceDead, "announce set it aside; its log tells why", (*Stack).announceAgain},
}

// DeadQueues gives the names of the dead-letter queues. Those in the account begin with the stack's: "flavorless-dev-apply-dead".
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

// Dead is what waits in a dead-letter queue.
type Dead struct {
	Queue   string   `json:"queue"`
	Alias   string   `json:"alias,omitempty"` // not of a stack's: another name of the queue
	Waiting int64    `json:"waiting"`         // about
	Letters []Letter `json:"letters"`         // some of them
}

// Letter says of one message what it was and why it is dead.
type Letter struct {
	ID      uint64    `json:"id,omitempty"`    // not of a stack's
	Tries   int       `json:"tries,omitempty"` // likewise
	Sent    time.Time `json:"sent"`            // when it was first published
	Subject string    `json:"subject"`
	Reason  string    `json:"reason"`
}

// peekTime is how many seconds a message is out of sight, at most, that is only looked at.
const peekTime = 30

// Dead looks into a dead-letter queue. Of the messages it shows so many at most.
func (s *Stack) Dead(ctx context.Context, name string, most int) (Dead, error) {
	q, url, err := s.deadQueue(name)
	if err != nil {
		return Dead{}, err
	}
	fail := func(err error) (Dead, error) { return Dead{}, fmt.Errorf("looking into %s: %w", name, err) }
	d := Dead{Queue: name, Letters: []Letter{}}
	attributes, _, err := s.attributes(ctx, url)
	if err != nil {
		return fail(err)
	}
	if d.Waiting, err = depth(attributes); err != nil {
		return fail(err)
	}
	var seen []letter
	defer func() { s.release(context.WithoutCancel(ctx), url, seen) }()
	for most = min(most, int(d.Waiting)); len(d.Letters) < most; {
		letters, err := s.receiveDead(ctx, url, min(10, most-len(d.Letters)), peekTime)
		if err != nil {
			return fail(err)
		}
		if len(letters) == 0 {
			break
		}
		seen = append(seen, letters...)
		for _, l := range letters {
			subject, reason := l.about()
			d.Letters = append(d.Letters, Letter{Sent: l.sent, Subject: subject, Reason: cmp.Or(reason, q.unsaid)})
		}
	}
	return d, nil
}

// depth gives how many messages a queue has, about, by its attributes: those that can be received, and those that somebody
// has received and not deleted yet.
func depth(attributes map[string]string) (n int64, err error) {
	for _, name := range []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible} {
		some, err := strconv.ParseInt(attributes[string(name)], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("its attribute %s: %w", name, err)
		}
		n += some
	}
	return n, nil
}

// attributes gives those of a queue, and what time it was at the service then.
func (s *Stack) attributes(ctx context.Context, url string) (map[string]string, time.Time, error) {
	out, err := s.sqs().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		return nil, time.Time{}, err
	}
	now, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		now = time.Now()
	}
	return out.Attributes, now, nil
}

// letter is a message in a dead-letter queue.
type letter struct {
	id, handle string
	body       []byte
	attributes map[string]string
	sent       time.Time // into this queue
}

// receiveDead takes messages, which nobody else sees for so many seconds. It looks at all of the queue's servers, so that
// none means that there are none.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
func (s *Stack) receiveDead(ctx context.Context, url string, most int, seconds int32) ([]letter, error) {
	out, err := s.sqs().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: int32(most), WaitTimeSeconds: 1, VisibilityTimeout: seconds, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp},
	})
	if err != nil {
		return nil, err
	}
	letters := make([]letter, len(out.Messages))
	for i, m := range out.Messages {
		letters[i] = letter{
			id: aws.ToString(m.MessageId), handle: aws.ToString(m.ReceiptHandle), body: []byte(aws.ToString(m.Body)), attributes: map[string]string{},
		}
		for name, value := range m.MessageAttributes {
			if value.StringValue != nil {
				letters[i].attributes[name] = *value.StringValue
			}
		}
		if ms, err := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
			letters[i].sent = time.UnixMilli(ms)
		}
	}
	return letters, nil
}

// release puts messages back into sight. Those that it can't come back by themselves, a little later.
func (s *Stack) release(ctx context.Context, url string, letters []letter) {
	client := s.sqs()
	for len(letters) > 0 {
		some := letters[:min(10, len(letters))]
		letters = letters[len(some):]
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url}
		for i, l := range some {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &l.handle})
		}
		_, _ = client.ChangeMessageVisibilityBatch(ctx, in)
	}
}

// about says what a message is and why it is dead, as far as that is known.
func (l letter) about() (subject, reason string) {
	reason = l.attributes[queues.DeadReason]
	if f, ok := l.failure(); ok {
		subject, reason = f.about()
		return cmp.Or(subject, l.id), reason
	}
	switch l.attributes["type"] {
	case events.ChangeType:
		return "change of " + l.attributes["person"], reason
	case events.UpdatesType, events.ContinuationType:
		return "upload " + l.attributes["upload"], reason
	}
	return cmp.Or(objects(l.body), l.attributes[queues.DeadID], l.id), reason
}

// objects names the objects of an S3 event; it gives nothing if it is none.
func objects(body []byte) string {
	announced, err := ours.DecodeS3Event(body)
	if err != nil {
		return ""
	}
	keys := make([]string, len(announced))
	for i, o := range announced {
		keys[i] = o.Key
	}
	return strings.Join(keys, ", ")
}

// failure is what Lambda itself puts into a function's failure queue: about an asynchronous call (with its payload), or
// about a stretch of a stream (without its records).
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
// https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
type failure struct {
	Context struct {
		Condition string `json:"condition"`
	} `json:"requestContext"`
	Request  jsontext.Value `json:"requestPayload"`
	Response jsontext.Value `json:"responsePayload"`
	Stretch  *stretch       `json:"DDBStreamBatchInfo"`
}

func (l letter) failure() (f failure, ok bool) {
	err := json.Unmarshal(l.body, &f)
	return f, err == nil && f.Context.Condition != ""
}

func (f failure) about() (subject, reason string) {
	if f.Stretch != nil {
		return f.Stretch.about(), f.Context.Condition
	}
	reason = f.Context.Condition
	var response struct {
		Error string `json:"errorMessage"`
	}
	if json.Unmarshal(f.Response, &response) == nil && response.Error != "" { // what was killed said nothing
		reason += ": " + response.Error
	}
	return objects(f.Request), reason
}
