package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/flavorless/flavorless/internal/operator"
)

// redriveTime is for how many seconds messages are hidden from other receivers while they are put back: long enough for
// ten invocations of a function that each take its whole timeout.
const redriveTime = 660

// maxFailures is how many failures end the redrive of a queue.
const maxFailures = 100

// Redrive implements [operator.DeadLetters]. It puts back what waits in the queue when it begins. If it is interrupted,
// a message may be put back a second time, which does no harm.
func (s *Stack) Redrive(
	ctx context.Context, queue string, progress func(restored int64),
) (operator.RedriveResult, error) {
	r := operator.RedriveResult{Queue: queue, Failures: []string{}}
	q, url, err := s.deadQueue(queue)
	if err == nil {
		if q.requeue == nil {
			err = s.moveBack(ctx, url, func(n int64) { r.Restored = n; progress(n) })
		} else {
			err = s.requeueAll(ctx, q, url, &r, progress)
		}
	}
	if err != nil {
		return r, fmt.Errorf("redriving %s: %w", queue, err)
	}
	return r, nil
}

// requeueAll puts back one message after the other. It stops after the messages that waited when it began: a message
// that arrives meanwhile may be one that was just put back and has failed again.
func (s *Stack) requeueAll(
	ctx context.Context, q deadQueue, url string, r *operator.RedriveResult, progress func(int64),
) error {
	client := s.sqs()
	attributes, began, err := s.attributes(ctx, url)
	if err != nil {
		return err
	}
	waiting, err := depth(attributes) // approximate, so messages sent before it began are put back in any case
	if err != nil {
		return err
	}
	var left []letter
	defer func() { s.release(context.WithoutCancel(ctx), url, left) }()
	for len(r.Failures) < maxFailures {
		letters, err := s.receive(ctx, url, 10, redriveTime)
		if err != nil || len(letters) == 0 {
			return err
		}
		newer := 0
		for i, l := range letters {
			if r.Restored+int64(len(r.Failures)) >= waiting && l.sent.After(began) {
				newer++
				left = append(left, l)
				continue
			}
			if err := q.requeue(s, ctx, l); err != nil {
				left = append(left, l)
				if ctx.Err() != nil {
					left = append(left, letters[i+1:]...)
					return ctx.Err()
				}
				subject, _ := l.describe()
				r.Failures = append(r.Failures, fmt.Sprintf("%s: %v", subject, err))
				continue
			}
			in := &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: &l.handle}
			if _, err := client.DeleteMessage(context.WithoutCancel(ctx), in); err != nil {
				return fmt.Errorf("message %s was put back but can't be deleted from the dead-letter queue: %w", l.id, err)
			}
			r.Restored++
			progress(r.Restored)
		}
		if newer == len(letters) {
			return nil
		}
	}
	return nil
}

// Polling intervals for the state of a task of SQS. They double from the first to the last.
const (
	firstPoll = 100 * time.Millisecond
	lastPoll  = 2 * time.Second
)

// moveBack has SQS move all messages to the queue that they came from, and waits until that is done. If SQS is already
// moving them, moveBack only waits. The task continues when moveBack is interrupted.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
func (s *Stack) moveBack(ctx context.Context, url string, progress func(int64)) error {
	client := s.sqs()
	attributes, _, err := s.attributes(ctx, url)
	if err != nil {
		return err
	}
	source := attributes[string(types.QueueAttributeNameQueueArn)]
	task, err := newestTask(ctx, client, source)
	if err != nil {
		return err
	}
	before := task.StartedTimestamp
	if aws.ToString(task.Status) == taskRunning {
		before-- // wait for the running task itself
	} else {
		destination, err := s.sourceOf(ctx, url)
		if err != nil {
			return err
		}
		in := &sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &destination}
		if _, err := client.StartMessageMoveTask(ctx, in); err != nil {
			return err
		}
	}
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		task, err := newestTask(ctx, client, source)
		if err != nil {
			return err
		}
		if task.StartedTimestamp > before {
			progress(task.ApproximateNumberOfMessagesMoved)
			switch aws.ToString(task.Status) {
			case taskRunning:
			case "COMPLETED":
				return nil
			default:
				return fmt.Errorf("the task of SQS is %s: %s", aws.ToString(task.Status), aws.ToString(task.FailureReason))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; SQS continues to move messages", ctx.Err())
		case <-time.After(pause):
		}
	}
}

const taskRunning = "RUNNING"

// newestTask returns the latest task that moves messages out of a queue, or a zero one if there was none.
func newestTask(ctx context.Context, client *sqs.Client, source string) (types.ListMessageMoveTasksResultEntry, error) {
	in := &sqs.ListMessageMoveTasksInput{SourceArn: &source, MaxResults: aws.Int32(1)}
	out, err := client.ListMessageMoveTasks(ctx, in)
	if err != nil || len(out.Results) == 0 {
		return types.ListMessageMoveTasksResultEntry{}, err
	}
	return out.Results[0], nil
}

// sourceOf returns the ARN of the queue that has this dead-letter queue. SQS finds it by itself for messages that it
// moved there, but not for those that a function sent there.
func (s *Stack) sourceOf(ctx context.Context, url string) (string, error) {
	sources, err := s.sqs().ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &url})
	if err != nil {
		return "", err
	}
	if n := len(sources.QueueUrls); n != 1 {
		return "", fmt.Errorf("it is the dead-letter queue of %d queues instead of one; deploy the stack again", n)
	}
	attributes, _, err := s.attributes(ctx, sources.QueueUrls[0])
	return attributes[string(types.QueueAttributeNameQueueArn)], err
}
