package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mapping is AWS::Lambda::EventSourceMapping.
type mapping struct {
	FunctionName, EventSourceArn, StartingPosition string
	BatchSize, MaximumBatchingWindowInSeconds      int
	Enabled                                        bool
	FunctionResponseTypes                          []string
	ScalingConfig                                  struct{ MaximumConcurrency int }
	BisectBatchOnFunctionError                     bool
	MaximumRetryAttempts                           *int // none: without end
	MaximumRecordAgeInSeconds                      int  // longer than any test
	ParallelizationFactor                          int
	DestinationConfig                              struct{ OnFailure struct{ Destination string } }
	Tags                                           any

	reports  bool // the function says which items failed
	function *Function
	caller   Caller // Lambda reads sources by the function's role
}

func createMapping(_ context.Context, s *Stack, id string, p map[string]any) (created, error) {
	m := mapping{Enabled: true}
	if err := convert(p, &m); err != nil {
		return created{}, err
	}
	var err error
	if m.function, err = s.functionByARN(m.FunctionName); err != nil {
		return created{}, err
	}
	m.reports = slices.Contains(m.FunctionResponseTypes, "ReportBatchItemFailures")
	m.caller = Caller{Endpoint: s.Door.URL, Key: m.function.Key}
	s.mappings = append(s.mappings, m)
	return created{ref: id}, nil
}

func (s *Stack) startMapping(ctx context.Context, m mapping) error {
	if !m.Enabled {
		return nil
	}
	// What Lambda wants to see in the role before it makes the mapping; most of it is called below as well.
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html, services-dynamodb-eventsourcemapping.html
	actions := []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
	if strings.Contains(m.EventSourceArn, ":dynamodb:") {
		actions = []string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"}
	}
	for _, action := range actions {
		if err := s.Door.Require(m.function.Key, Need{action, m.EventSourceArn}); err != nil {
			return err
		}
	}
	if strings.Contains(m.EventSourceArn, ":dynamodb:") {
		return s.startStream(ctx, m)
	}
	return s.startQueue(ctx, m)
}

// message is what ReceiveMessage gives.
type message struct {
	MessageId, ReceiptHandle, Body, MD5OfBody string //nolint:revive // the API's names
	Attributes                                map[string]string
	MessageAttributes                         map[string]struct{ DataType, StringValue, BinaryValue string }
}

// Lambda scales a queue's pollers up to the mapping's concurrency; more than this are of no use on one machine.
const pollers = 4

// startQueue polls a queue as Lambda does: by the function's role, up to the mapping's concurrency at once.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
func (s *Stack) startQueue(ctx context.Context, m mapping) error {
	url, err := s.queueURL(m.EventSourceArn)
	if err != nil {
		return err
	}
	var out struct{ Attributes map[string]string }
	in := map[string]any{"QueueUrl": url, "AttributeNames": []string{"VisibilityTimeout"}}
	if err := m.caller.JSON(ctx, targetQueue+"GetQueueAttributes", in, &out); err != nil {
		return err
	}
	if seconds, err := strconv.Atoi(out.Attributes["VisibilityTimeout"]); err != nil || time.Duration(seconds)*time.Second < m.function.Timeout {
		return fmt.Errorf("the visibility timeout %q is below the function's timeout: Lambda refuses that", out.Attributes["VisibilityTimeout"])
	}
	n := pollers
	if most := m.ScalingConfig.MaximumConcurrency; most > 0 {
		n = min(n, most)
	}
	for range n {
		s.running.Go(func() {
			for s.ctx.Err() == nil {
				if err := s.poll(m, url); err != nil && s.ctx.Err() == nil {
					s.fail(fmt.Errorf("polling %s: %w", m.EventSourceArn, err))
					return
				}
			}
		})
	}
	return nil
}

// poll receives a batch and hands it over.
func (s *Stack) poll(m mapping, url string) error {
	var batch []message
	wait, until := 1, time.Time{}
	for size := max(m.BatchSize, 1); len(batch) < size; {
		var out struct{ Messages []message }
		in := map[string]any{"QueueUrl": url, "MaxNumberOfMessages": min(10, size-len(batch)), "WaitTimeSeconds": wait,
			"AttributeNames": []string{"All"}, "MessageAttributeNames": []string{"All"}}
		if err := m.caller.JSON(s.ctx, targetQueue+"ReceiveMessage", in, &out); err != nil {
			return err
		}
		batch = append(batch, out.Messages...)
		if wait = 0; until.IsZero() {
			until = time.Now().Add(min(s.Pace, time.Duration(m.MaximumBatchingWindowInSeconds)*time.Second))
		}
		if time.Now().After(until) || len(batch) == 0 {
			break
		}
	}
	if len(batch) == 0 {
		return nil
	}
	failed := s.handQueue(m, batch)
	var entries []map[string]string
	for i, one := range batch {
		if !failed[one.MessageId] {
			entries = append(entries, map[string]string{"Id": strconv.Itoa(i), "ReceiptHandle": one.ReceiptHandle})
		}
	}
	for chunk := range slices.Chunk(entries, 10) {
		if err := m.caller.JSON(s.ctx, targetQueue+"DeleteMessageBatch", map[string]any{"QueueUrl": url, "Entries": chunk}, nil); err != nil {
			return err
		}
	}
	if len(failed) == 0 || !pause(s.ctx, s.Pace) {
		return nil
	}
	// What failed comes back after the visibility timeout, minutes later. The test makes that pass, Lambda has no part in it.
	for _, one := range batch {
		if failed[one.MessageId] {
			in := map[string]any{"QueueUrl": url, "ReceiptHandle": one.ReceiptHandle, "VisibilityTimeout": 0}
			if err := s.admin.JSON(s.ctx, targetQueue+"ChangeMessageVisibility", in, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// handQueue gives a batch to the function, and which messages failed.
func (s *Stack) handQueue(m mapping, batch []message) map[string]bool {
	failed := map[string]bool{}
	records := make([]any, len(batch))
	for i, one := range batch {
		records[i] = queueRecord(m, one)
	}
	payload, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		s.fail(err)
		return failed
	}
	ids, all := m.failures(m.function.Invoke(withLineage(s.ctx, s.Door.sent.batch(batch)), payload))
	for _, one := range batch {
		if all || slices.Contains(ids, one.MessageId) {
			failed[one.MessageId] = true
		}
	}
	for _, id := range ids {
		if !slices.ContainsFunc(batch, func(one message) bool { return one.MessageId == id }) { // the answer is invalid: all failed
			for _, one := range batch {
				failed[one.MessageId] = true
			}
		}
	}
	return failed
}

// queueRecord is a message as a function gets it. https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
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
		"messageId": one.MessageId, "receiptHandle": one.ReceiptHandle, "body": one.Body, "attributes": one.Attributes,
		"messageAttributes": attributes, "md5OfBody": one.MD5OfBody, "eventSource": "aws:sqs", "eventSourceARN": m.EventSourceArn, "awsRegion": Region,
	}
}

// failures reads which items of a batch failed. An answer that can't be read, or one with an empty id, means all.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
func (m mapping) failures(done Invocation) (ids []string, all bool) {
	if done.Failed != "" {
		return nil, true
	}
	if !m.reports {
		return nil, false
	}
	var answer *struct {
		BatchItemFailures []struct {
			ItemIdentifier *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(done.Answer, &answer); err != nil {
		return nil, true
	}
	if answer == nil { // null or nothing at all is success
		return nil, false
	}
	for _, f := range answer.BatchItemFailures {
		if f.ItemIdentifier == nil || *f.ItemIdentifier == "" {
			return nil, true
		}
		ids = append(ids, *f.ItemIdentifier)
	}
	return ids, false
}
