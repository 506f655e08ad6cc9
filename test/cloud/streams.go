package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
)

// record is a record of a stream. Except for two members, it has the format of a function's event.
type record = map[string]any

func sequenceOf(r record) string {
	change, _ := r["dynamodb"].(map[string]any)
	return stringOf(change["SequenceNumber"])
}

// startStream reads a table's stream as Lambda does: shard by shard, parents before their children.
// https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
func (s *Stack) startStream(ctx context.Context, m mapping) error {
	if m.StartingPosition != "TRIM_HORIZON" {
		return fmt.Errorf("the starting position %q loses changes that are made during the deployment", m.StartingPosition)
	}
	if _, err := m.shards(ctx); err != nil {
		return err
	}
	s.running.Go(func() {
		done := map[string]bool{}
		for ctx.Err() == nil {
			shards, err := m.shards(ctx)
			if err != nil {
				s.fail(ctx, err)
				return
			}
			// DynamoDB Local has one open shard per table, so reading them one by one is fast enough.
			for _, shard := range shards {
				if !done[shard] {
					if err := s.readShard(ctx, m, shard); err != nil {
						s.fail(ctx, fmt.Errorf("shard %s: %w", shard, err))
						return
					}
					done[shard] = true
				}
			}
		}
	})
	return nil
}

// shards returns the ids of the stream's shards, oldest first.
func (m mapping) shards(ctx context.Context) ([]string, error) {
	var out struct {
		StreamDescription struct {
			Shards []struct{ ShardID string }
		}
	}
	in := map[string]any{"StreamArn": m.EventSourceARN}
	if err := m.caller.JSON(ctx, targetStream+"DescribeStream", in, &out); err != nil {
		return nil, err
	}
	var ids []string
	for _, shard := range out.StreamDescription.Shards {
		ids = append(ids, shard.ShardID)
	}
	slices.Sort(ids) // they contain increasing numbers
	return ids, nil
}

func (s *Stack) readShard(ctx context.Context, m mapping, shard string) error {
	at, err := m.iterator(ctx, shard, "")
	for last := ""; err == nil && at != "" && ctx.Err() == nil; {
		var out struct {
			Records           []record
			NextShardIterator string
		}
		in := map[string]any{"ShardIterator": at, "Limit": min(1000, max(m.BatchSize, 1))}
		err = m.caller.JSON(ctx, targetStream+"GetRecords", in, &out)
		if err != nil && strings.Contains(err.Error(), "TrimmedDataAccessException") {
			// DynamoDB Local refuses an iterator that is older than the first record.
			// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html
			at, err = m.iterator(ctx, shard, last)
			continue
		}
		at = out.NextShardIterator
		if len(out.Records) == 0 {
			pause(ctx, s.Delay) // Lambda polls four times a second
			continue
		}
		last = sequenceOf(out.Records[len(out.Records)-1])
		s.deliverShard(ctx, m, out.Records)
	}
	return err
}

// iterator returns an iterator that begins after the record last, or where the mapping begins if last is empty.
func (m mapping) iterator(ctx context.Context, shard, last string) (string, error) {
	in := map[string]any{"StreamArn": m.EventSourceARN, "ShardId": shard, "ShardIteratorType": m.StartingPosition}
	if last != "" {
		in["ShardIteratorType"], in["SequenceNumber"] = "AFTER_SEQUENCE_NUMBER", last
	}
	var out struct{ ShardIterator string }
	err := m.caller.JSON(ctx, targetStream+"GetShardIterator", in, &out)
	return out.ShardIterator, err
}

// deliverShard delivers records: those of one item in order, items in parallel up to the mapping's factor.
func (s *Stack) deliverShard(ctx context.Context, m mapping, records []record) {
	lanes := make([][]record, max(m.ParallelizationFactor, 1))
	for _, r := range records {
		r["eventSourceARN"], r["awsRegion"] = m.EventSourceARN, Region
		change, _ := r["dynamodb"].(map[string]any)
		h := fnv.New32a()
		fmt.Fprint(h, apiText(change["Keys"]))
		lane := h.Sum32() % uint32(len(lanes))
		lanes[lane] = append(lanes[lane], r)
	}
	var wg sync.WaitGroup
	for _, lane := range lanes {
		wg.Go(func() { s.deliverRecords(ctx, m, lane) })
	}
	wg.Wait()
}

// deliverRecords invokes the function until all records are processed: it continues from the first record that failed,
// or repeats all if the invocation failed. It does not bisect batches and never gives up, because no test gets that
// far.
// https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
func (s *Stack) deliverRecords(ctx context.Context, m mapping, records []record) {
	for len(records) > 0 {
		payload, err := json.Marshal(map[string]any{"Records": records})
		if err != nil {
			s.fail(ctx, err)
			return
		}
		ids, all := m.failures(m.function.Invoke(ctx, payload))
		if !all && len(ids) == 0 || ctx.Err() != nil {
			return
		}
		first := len(records)
		for _, id := range ids {
			i := slices.IndexFunc(records, func(r record) bool { return sequenceOf(r) == id })
			first = min(first, max(i, 0)) // an unknown id is an invalid answer: all failed
		}
		if !all {
			records = records[first:]
		}
		if !pause(ctx, s.Delay) {
			return
		}
	}
}
