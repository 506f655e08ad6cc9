package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
)

// record is a stream's record. But for two members it is what the function gets, so it stays as it is.
type record = map[string]any

func sequenceOf(r record) string {
	change, _ := r["dynamodb"].(map[string]any)
	s, _ := change["SequenceNumber"].(string)
	return s
}

// startStream reads a table's stream as Lambda does: shard by shard, children after their parents.
// https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
func (s *Stack) startStream(ctx context.Context, m mapping) error {
	if m.StartingPosition != "TRIM_HORIZON" {
		return fmt.Errorf("the position %q is not understood here: what happens while the stack is made would be lost", m.StartingPosition)
	}
	if _, err := m.shards(ctx); err != nil {
		return err
	}
	s.running.Go(func() {
		done := map[string]bool{}
		for s.ctx.Err() == nil {
			shards, err := m.shards(s.ctx)
			if err != nil {
				s.fail(err)
				return
			}
			// DynamoDB Local has one open shard a table, so one after the other is no slower than all at once.
			for _, shard := range shards {
				if !done[shard] {
					if err := s.readShard(m, shard); err != nil {
						s.fail(fmt.Errorf("shard %s: %w", shard, err))
						return
					}
					done[shard] = true
				}
			}
		}
	})
	return nil
}

func (m mapping) shards(ctx context.Context) ([]string, error) {
	var out struct {
		StreamDescription struct {
			Shards []struct{ ShardId string } //nolint:revive // the API's name
		}
	}
	if err := m.caller.JSON(ctx, targetStream+"DescribeStream", map[string]any{"StreamArn": m.EventSourceArn}, &out); err != nil {
		return nil, err
	}
	var ids []string
	for _, shard := range out.StreamDescription.Shards {
		ids = append(ids, shard.ShardId)
	}
	slices.Sort(ids) // their numbers grow
	return ids, nil
}

func (s *Stack) readShard(m mapping, shard string) error {
	at, err := m.iterator(s.ctx, shard, "")
	for last := ""; err == nil && at != "" && s.ctx.Err() == nil; {
		var out struct {
			Records           []record
			NextShardIterator string
		}
		err = m.caller.JSON(s.ctx, targetStream+"GetRecords", map[string]any{"ShardIterator": at, "Limit": min(1000, max(m.BatchSize, 1))}, &out)
		if err != nil && strings.Contains(err.Error(), "TrimmedDataAccessException") {
			// DynamoDB Local says so of an iterator that is older than the first record. https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html
			at, err = m.iterator(s.ctx, shard, last)
			continue
		}
		at = out.NextShardIterator
		if len(out.Records) == 0 {
			pause(s.ctx, s.Pace) // Lambda asks four times a second
			continue
		}
		last = sequenceOf(out.Records[len(out.Records)-1])
		s.handShard(m, shard, out.Records)
	}
	return err
}

// iterator begins behind a record, or where the mapping begins.
func (m mapping) iterator(ctx context.Context, shard, last string) (string, error) {
	in := map[string]any{"StreamArn": m.EventSourceArn, "ShardId": shard, "ShardIteratorType": m.StartingPosition}
	if last != "" {
		in["ShardIteratorType"], in["SequenceNumber"] = "AFTER_SEQUENCE_NUMBER", last
	}
	var out struct{ ShardIterator string }
	err := m.caller.JSON(ctx, targetStream+"GetShardIterator", in, &out)
	return out.ShardIterator, err
}

// handShard gives records to the function: in order for each item, with the mapping's factor of items in parallel.
func (s *Stack) handShard(m mapping, shard string, records []record) {
	lanes := make([][]record, max(m.ParallelizationFactor, 1))
	for _, r := range records {
		r["eventSourceARN"], r["awsRegion"] = m.EventSourceArn, Region
		change, _ := r["dynamodb"].(map[string]any)
		h := fnv.New32a()
		fmt.Fprint(h, text(change["Keys"]))
		lane := h.Sum32() % uint32(len(lanes))
		lanes[lane] = append(lanes[lane], r)
	}
	var wg sync.WaitGroup
	for _, lane := range lanes {
		wg.Go(func() { s.handRecords(m, shard, lane) })
	}
	wg.Wait()
}

// handRecords gives records to the function until all are handled or given up: it goes on from the first one that failed,
// halves a batch of which it only knows that it failed, and sends what fails too often to the destination.
// https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
func (s *Stack) handRecords(m mapping, shard string, records []record) {
	for failures := 0; len(records) > 0; {
		payload, err := json.Marshal(map[string]any{"Records": records})
		if err != nil {
			s.fail(err)
			return
		}
		done := m.function.Invoke(s.ctx, payload)
		if s.ctx.Err() != nil {
			return
		}
		ids, all := m.failures(done)
		if !all && len(ids) == 0 {
			return
		}
		first := 0
		if !all {
			first = len(records)
			for _, id := range ids {
				i := slices.IndexFunc(records, func(r record) bool { return sequenceOf(r) == id })
				if i < 0 {
					i = 0 // an answer that makes no sense: all failed
				}
				first = min(first, i)
			}
		}
		if first > 0 {
			failures = 0 // it went on
		}
		records = records[first:]
		failures++
		if m.MaximumRetryAttempts != nil && *m.MaximumRetryAttempts >= 0 && failures > *m.MaximumRetryAttempts {
			s.giveUp(m, shard, records, done, failures)
			return
		}
		if !pause(s.ctx, s.Pace) {
			return
		}
		if all && m.BisectBatchOnFunctionError && len(records) > 1 { // halving is no retry
			half := len(records) / 2
			s.handRecords(m, shard, records[:half])
			records, failures = records[half:], 0
		}
	}
}

// giveUp tells the destination where in the stream the records are; they stay there for a day.
// https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
func (s *Stack) giveUp(m mapping, shard string, records []record, done Invocation, tries int) {
	to := m.DestinationConfig.OnFailure.Destination
	if to == "" {
		return
	}
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	body, err := json.Marshal(map[string]any{
		"requestContext":  map[string]any{"requestId": done.RequestID, "functionArn": m.function.ARN(), "condition": "RetryAttemptsExhausted", "approximateInvokeCount": tries},
		"responseContext": map[string]any{"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
		"version":         "1.0", "timestamp": now,
		"DDBStreamBatchInfo": map[string]any{
			"shardId": shard, "startSequenceNumber": sequenceOf(records[0]), "endSequenceNumber": sequenceOf(records[len(records)-1]),
			"approximateArrivalOfFirstRecord": now, "approximateArrivalOfLastRecord": now, "batchSize": len(records), "streamArn": m.EventSourceArn,
		},
	})
	if err == nil {
		err = s.sender(m.function, to)(s.ctx, body)
	}
	if err != nil {
		s.fail(err)
	}
}
