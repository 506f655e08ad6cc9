package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// message is a message as ReceiveMessage returns it.
type message struct {
	MessageID, ReceiptHandle, Body, MD5OfBody string
	Attributes                                map[string]string
	MessageAttributes                         map[string]struct{ DataType, StringValue, BinaryValue string }
}

// pollers is the maximum number of pollers of a queue. Lambda scales them up to the mapping's concurrency, but more are
// of no use on one machine.
const pollers = 4

// startQueue polls a queue as Lambda does: by the function's role, up to the mapping's concurrency at once.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
func (s *Stack) startQueue(ctx context.Context, m mapping) error {
	url, err := s.queueURL(m.EventSourceARN)
	if err != nil {
		return err
	}
	var out struct{ Attributes map[string]string }
	in := map[string]any{"QueueUrl": url, "AttributeNames": []string{"VisibilityTimeout"}}
	if err := m.caller.JSON(ctx, targetQueue+"GetQueueAttributes", in, &out); err != nil {
		return err
	}
	visibility := out.Attributes["VisibilityTimeout"]
	if seconds, err := strconv.Atoi(visibility); err != nil || time.Duration(seconds)*time.Second < m.function.Timeout {
		return fmt.Errorf("the visibility timeout %q is less than the function's timeout, which Lambda refuses", visibility)
	}
	n := pollers
	if limit := m.ScalingConfig.MaximumConcurrency; limit > 0 {
		n = min(n, limit)
	}
	for range n {
		s.running.Go(func() {
			for ctx.Err() == nil {
				if err := s.poll(ctx, m, url); err != nil && ctx.Err() == nil {
					s.fail(ctx, fmt.Errorf("polling %s: %w", m.EventSourceARN, err))
					return
				}
			}
		})
	}
	return nil
}

// poll receives a batch and delivers it to the function.
func (s *Stack) poll(ctx context.Context, m mapping, url string) error {
	batch, err := s.receive(ctx, m, url)
	if err != nil || len(batch) == 0 {
		return err
	}
	failed, err := s.deliverMessages(ctx, m, batch)
	if err != nil {
		return err
	}
	var entries []map[string]string
	for i, one := range batch {
		if !failed[one.MessageID] {
			entries = append(entries, map[string]string{"Id": strconv.Itoa(i), "ReceiptHandle": one.ReceiptHandle})
		}
	}
	for chunk := range slices.Chunk(entries, 10) {
		in := map[string]any{"QueueUrl": url, "Entries": chunk}
		if err := m.caller.JSON(ctx, targetQueue+"DeleteMessageBatch", in, nil); err != nil {
			return err
		}
	}
	if len(failed) == 0 || !pause(ctx, s.Delay) {
		return nil
	}
	// Failed messages become visible again after the visibility timeout, which takes minutes. The test ends it early.
	for _, one := range batch {
		if failed[one.MessageID] {
			in := map[string]any{"QueueUrl": url, "ReceiptHandle": one.ReceiptHandle, "VisibilityTimeout": 0}
			if err := s.admin.JSON(ctx, targetQueue+"ChangeMessageVisibility", in, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive returns a batch of messages, or none after a second without any. It does not wait for a full batch.
func (s *Stack) receive(ctx context.Context, m mapping, url string) ([]message, error) {
	var out struct{ Messages []message }
	in := map[string]any{
		"QueueUrl": url, "MaxNumberOfMessages": min(10, max(m.BatchSize, 1)), "WaitTimeSeconds": 1,
		"AttributeNames": []string{"All"}, "MessageAttributeNames": []string{"All"},
	}
	err := m.caller.JSON(ctx, targetQueue+"ReceiveMessage", in, &out)
	return out.Messages, err
}

// deliverMessages invokes the function with a batch, and returns the ids of the messages that failed.
func (s *Stack) deliverMessages(ctx context.Context, m mapping, batch []message) (map[string]bool, error) {
	records := make([]any, len(batch))
	failed := map[string]bool{}
	for i, one := range batch {
		records[i] = queueRecord(m, one)
		failed[one.MessageID] = true
	}
	payload, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		return nil, err
	}
	ids, all := m.failures(m.function.Invoke(withLineage(ctx, s.Proxy.lineages.batch(batch)), payload))
	// An answer with an id that is not in the batch is invalid: the whole batch failed.
	if all || slices.ContainsFunc(ids, func(id string) bool { return !failed[id] }) {
		return failed, nil
	}
	clear(failed)
	for _, id := range ids {
		failed[id] = true
	}
	return failed, nil
}

// queueRecord returns a message in the format of a function's event.
// https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
func queueRecord(m mapping, one message) map[string]any {
	attributes := map[string]any{}
	for name, a := range one.MessageAttributes {
		value := map[string]any{"dataType": a.DataType, "stringListValues": []any{}, "binaryListValues": []any{}}
		if a.BinaryValue != "" {
			value["binaryValue"] = a.BinaryValue
		} else {
			value["stringValue"] = a.StringValue
		}
		attributes[name] = value
	}
	return map[string]any{
		"messageId": one.MessageID, "receiptHandle": one.ReceiptHandle, "body": one.Body, "attributes": one.Attributes,
		"messageAttributes": attributes, "md5OfBody": one.MD5OfBody, "eventSource": "aws:sqs",
		"eventSourceARN": m.EventSourceARN,
		"awsRegion":      Region,
	}
}
