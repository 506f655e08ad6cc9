package test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/queues"
)

// run invokes the functions as Lambda does, until every upload is settled. Two of each function run at the same time,
// but only one of announce, because a shard is read in order.
func (d *deployment) run(ctx context.Context, t *testing.T, s3Events [][]byte) {
	running, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	pending := make(chan []byte, len(s3Events)*100)
	for _, e := range s3Events {
		pending <- e
	}
	for range 2 {
		workers.Go(func() {
			for {
				select {
				case <-running.Done():
					return
				case event := <-pending:
					if _, err := d.ingest.Handle(ctx, event); err != nil {
						pending <- event // Lambda retries it
					}
				}
			}
		})
		workers.Go(func() { d.pollQueue(running, t, d.resumeQueue, d.resume) })
		workers.Go(func() { d.pollQueue(running, t, d.applyQueue, d.apply.Handle) })
	}
	workers.Go(func() {
		for running.Err() == nil {
			d.pollStream(ctx, t)
		}
	})
	for !d.settled(ctx, t) || len(pending) > 0 {
		if !sleep(ctx, 20*time.Millisecond) {
			t.Error("not all uploads were settled in time")
			stop()
			workers.Wait()
			t.FailNow()
		}
	}
	stop()
	workers.Wait()
	d.pollStream(ctx, t)
}

func (d *deployment) settled(ctx context.Context, t *testing.T) bool {
	for id := range d.objects {
		u, err := d.table.Upload(ctx, id)
		if err != nil && !errors.Is(err, events.ErrNotFound) && ctx.Err() == nil {
			t.Errorf("reading upload %s: %v", id, err)
		}
		if !u.Status.Settled() {
			return false
		}
	}
	return true
}

// resume invokes ingest for messages of its queue.
func (d *deployment) resume(ctx context.Context, batch lambdaevents.SQSEvent) (lambdaevents.SQSEventResponse, error) {
	event, err := json.Marshal(batch)
	if err != nil {
		return lambdaevents.SQSEventResponse{}, err
	}
	out, err := d.ingest.Handle(ctx, event)
	response, _ := out.(lambdaevents.SQSEventResponse)
	return response, err
}

// sqsHandler is a function that a queue invokes.
type sqsHandler func(context.Context, lambdaevents.SQSEvent) (lambdaevents.SQSEventResponse, error)

// pollQueue is the event source mapping of a queue. It delivers some messages again although they were handled.
func (d *deployment) pollQueue(running context.Context, t *testing.T, queue string, handle sqsHandler) {
	ctx, client := context.WithoutCancel(running), queues.Client(d.direct)
	for running.Err() == nil {
		got, err := client.ReceiveMessage(running, &sqs.ReceiveMessageInput{
			QueueUrl: &queue, MaxNumberOfMessages: 4, WaitTimeSeconds: 1, VisibilityTimeout: 600,
			MessageAttributeNames: []string{"All"},
		})
		if running.Err() != nil {
			return
		}
		if err != nil {
			t.Errorf("receiving from %s: %v", queue, err)
			return
		}
		if len(got.Messages) == 0 {
			continue
		}
		var batch lambdaevents.SQSEvent
		for _, m := range got.Messages {
			record := lambdaevents.SQSMessage{MessageId: *m.MessageId, Body: *m.Body, EventSource: "aws:sqs"}
			batch.Records = append(batch.Records, record)
		}
		response, err := handle(ctx, batch)
		failed := map[string]bool{}
		for _, f := range response.BatchItemFailures {
			failed[f.ItemIdentifier] = true
		}
		for _, m := range got.Messages {
			var answerErr error
			if err != nil || failed[*m.MessageId] || rand.IntN(5) == 0 {
				in := &sqs.ChangeMessageVisibilityInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle}
				_, answerErr = client.ChangeMessageVisibility(ctx, in)
			} else {
				_, answerErr = client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle})
			}
			if answerErr != nil {
				t.Errorf("returning or deleting a message of %s: %v", queue, answerErr)
			}
		}
	}
}

// pollStream is the event source mapping of the stream, which repeats records until announce has handled them.
func (d *deployment) pollStream(ctx context.Context, t *testing.T) {
	records, err := d.stream.Drain(ctx)
	if err != nil {
		t.Errorf("reading the stream: %v", err)
		return
	}
	var event lambdaevents.DynamoDBEvent
	for _, r := range records {
		event.Records = append(event.Records, lambdaevents.DynamoDBEventRecord{
			EventID: *r.SequenceNumber,
			Change: lambdaevents.DynamoDBStreamRecord{
				SequenceNumber: *r.SequenceNumber, OldImage: streamImage(r.OldImage), NewImage: streamImage(r.NewImage),
			},
		})
	}
	for len(event.Records) > 0 && ctx.Err() == nil {
		response, err := d.announce.Handle(ctx, event)
		switch {
		case err != nil: // all records are repeated
		case len(response.BatchItemFailures) == 0:
			return
		default:
			for event.Records[0].Change.SequenceNumber != response.BatchItemFailures[0].ItemIdentifier {
				event.Records = event.Records[1:]
			}
		}
	}
}

func streamImage(attributes map[string]streamtypes.AttributeValue) map[string]lambdaevents.DynamoDBAttributeValue {
	if attributes == nil {
		return nil
	}
	image := map[string]lambdaevents.DynamoDBAttributeValue{}
	for name, v := range attributes {
		switch v := v.(type) {
		case *streamtypes.AttributeValueMemberS:
			image[name] = lambdaevents.NewStringAttribute(v.Value)
		case *streamtypes.AttributeValueMemberN:
			image[name] = lambdaevents.NewNumberAttribute(v.Value)
		}
	}
	return image
}
