package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Redriven is what became of a dead-letter queue.
type Redriven struct {
	Queue    string
	Restored int64   // messages that are back in the pipeline
	Failures []error // of messages that stay
}

// redriveTime is how many seconds a message is out of others' sight while it is put back: enough for ten calls of a function
// that takes all of its time.
const redriveTime = 660

// mostFailures ends the redriving of a queue where nothing seems to work.
const mostFailures = 100

// Redrive puts back what waits in a dead-letter queue now. A message is deleted only once it is back, so what is cut off
// in between is put back twice, which does no harm, and what fails stays. Progress is told how many are back.
func (s *Stack) Redrive(ctx context.Context, name string, progress func(restored int64)) (Redriven, error) {
	r := Redriven{Queue: name}
	q, url, err := s.deadQueue(name)
	if err == nil {
		if q.restore == nil {
			err = s.moveBack(ctx, url, func(n int64) { r.Restored = n; progress(n) })
		} else {
			err = s.restoreAll(ctx, q, url, &r, progress)
		}
	}
	if err != nil {
		return r, fmt.Errorf("redriving %s: %w", name, err)
	}
	return r, nil
}

// restoreAll takes one message after the other, and ends with what waits at the beginning: what comes while it runs may be
// what has just been put back, and failed once more.
func (s *Stack) restoreAll(ctx context.Context, q deadQueue, url string, r *Redriven, progress func(int64)) error {
	client := s.sqs()
	attributes, began, err := s.attributes(ctx, url)
	if err != nil {
		return err
	}
	waiting, err := depth(attributes) // about; so what came before goes along, too
	if err != nil {
		return err
	}
	var left []letter
	defer func() { s.release(context.WithoutCancel(ctx), url, left) }()
	for len(r.Failures) < mostFailures {
		letters, err := s.receiveDead(ctx, url, 10, redriveTime)
		if err != nil || len(letters) == 0 {
			return err
		}
		news := 0
		for i, l := range letters {
			if r.Restored+int64(len(r.Failures)) >= waiting && l.sent.After(began) {
				news++
				left = append(left, l)
				continue
			}
			if err := q.restore(s, ctx, l); err != nil {
				left = append(left, l)
				if ctx.Err() != nil {
					left = append(left, letters[i+1:]...)
					return ctx.Err()
				}
				subject, _ := l.about()
				r.Failures = append(r.Failures, fmt.Errorf("%s: %w", subject, err))
				continue
			}
			if _, err := client.DeleteMessage(context.WithoutCancel(ctx), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: &l.handle}); err != nil {
				return fmt.Errorf("message %s is back, but can't be deleted: %w", l.id, err)
			}
			r.Restored++
			progress(r.Restored)
		}
		if news == len(letters) {
			return nil
		}
	}
	return nil
}

// Between two looks at a task of SQS.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
)

// moveBack has SQS move all messages to the queue that they came from, and waits until it has. If it is moving already, it
// only waits. A task goes on by itself when nobody waits for it.
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
		before--
	} else {
		destination, err := s.sourceOf(ctx, url)
		if err != nil {
			return err
		}
		if _, err := client.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: &destination}); err != nil {
			return err
		}
	}
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
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
				return fmt.Errorf("SQS says that its task is %s: %s", aws.ToString(task.Status), aws.ToString(task.FailureReason))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; SQS goes on moving by itself", ctx.Err())
		case <-time.After(pause):
		}
	}
}

const taskRunning = "RUNNING"

// newestTask gives the latest task that moves messages out of a queue; a zero one if there was none.
func newestTask(ctx context.Context, client *sqs.Client, source string) (types.ListMessageMoveTasksResultEntry, error) {
	out, err := client.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &source, MaxResults: aws.Int32(1)})
	if err != nil || len(out.Results) == 0 {
		return types.ListMessageMoveTasksResultEntry{}, err
	}
	return out.Results[0], nil
}

// sourceOf gives the ARN of the queue whose dead letters these are. SQS would find it by itself for what it has put here,
// but a message that can never be handled was put here by the function.
func (s *Stack) sourceOf(ctx context.Context, url string) (string, error) {
	sources, err := s.sqs().ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &url})
	if err != nil {
		return "", err
	}
	if len(sources.QueueUrls) != 1 {
		return "", errors.New("it is not the dead-letter queue of exactly one queue")
	}
	attributes, _, err := s.attributes(ctx, sources.QueueUrls[0])
	return attributes[string(types.QueueAttributeNameQueueArn)], err
}
