package dynamo

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// minRange is the minimum number of rows that are read as a range. A query costs at least one read unit.
const minRange = 10

// split returns the rows that may be read as ranges, and the others. The rows of a range are in one shard and sorted by
// person.
func (f *fold) split() (ranges [][]*row, others []*row) {
	all := make([]*row, len(f.rows))
	for i := range f.rows {
		all[i] = &f.rows[i]
	}
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n-1].precedes(all[n]) {
			n++
		}
		if n < minRange {
			others = append(others, all[:n]...)
		} else {
			ranges = append(ranges, all[:n:n])
		}
		all = all[n:]
	}
	return ranges, others
}

// precedes reports whether a range may have other after r. Batches of one call are in different ranges, because a queue
// may leave out batches between them.
func (r *row) precedes(other *row) bool {
	return r.batch > 0 && r.batch == other.batch && r.Person < other.Person && ShardOf(r.Person) == ShardOf(other.Person)
}

// The number of items in a page of a range. The first page is a part of the range, because the table may hold many
// other people in it; then pages become longer. A page of maxRangePage items of the usual size costs 75 read units.
const (
	firstRangePart  = 8
	minRangePage    = 50
	maxRangePage    = 2000
	rangePageGrowth = 4
)

// storeRange reads the stored rows of a range, page by page, and writes the rows that are newer. A read unit covers
// 4 KB of consecutive items, so a range costs a small part of what its keys cost, unless most of its items are of other
// people. As soon as the pages have cost more than the keys would have, it reads the remaining people by keys.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
func (s *storing) storeRange(ctx context.Context, rows []*row) error {
	in := s.rangeQuery(rows)
	units, covered := 0.0, 0
	for limit := max(len(rows)/firstRangePart, minRangePage); ; limit *= rangePageGrowth {
		in.Limit = aws.Int32(int32(min(limit, maxRangePage)))
		page, err := s.query(ctx, in)
		if err != nil {
			return fmt.Errorf("reading a range of stored versions: %w", err)
		}
		n := decideSorted(rows, page)
		if err := s.writeNewer(ctx, rows[:n]); err != nil {
			return err
		}
		if rows = rows[n:]; len(rows) == 0 {
			return nil
		}
		covered += n
		if units += unitsOf(page); units > float64(covered) {
			break
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
	for some := range slices.Chunk(rows, maxKeys) {
		if err := s.run(func() error { return s.storeKeys(ctx, some) }); err != nil {
			return err
		}
	}
	return nil
}

// rangeQuery returns the query for the items from the first to the last row of a range.
func (t *Table) rangeQuery(rows []*row) *dynamodb.QueryInput {
	first, last := rows[0].Person, rows[len(rows)-1].Person
	e := newExpression()
	condition := e.name("shard") + " = " + e.value(t.shards[ShardOf(first)]) + " AND " + e.name("person") +
		" BETWEEN " + e.value(text(first)) + " AND " + e.value(text(last))
	projection := e.name("person") + "," + e.name("version") + "," + e.name("flavor")
	return &dynamodb.QueryInput{
		TableName: &t.cfg.Favorites, ConsistentRead: aws.Bool(true),
		KeyConditionExpression: &condition, ProjectionExpression: &projection,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}
}

// decideSorted decides about the rows that a page of their range covers, and returns their number.
func decideSorted(rows []*row, page *dynamodb.QueryOutput) int {
	n := 0
	for _, found := range page.Items {
		person := textOf(found["person"])
		for n < len(rows) && rows[n].Person < person {
			n++
		}
		if n < len(rows) && rows[n].Person == person {
			rows[n].decide(found)
			n++
		}
	}
	if page.LastEvaluatedKey == nil {
		return len(rows)
	}
	last := textOf(page.LastEvaluatedKey["person"])
	for n < len(rows) && rows[n].Person <= last {
		n++
	}
	return n
}

// unitsOf returns the read units that a query consumed. If DynamoDB does not say so, which does not happen, it assumes
// that no two items shared a unit.
func unitsOf(page *dynamodb.QueryOutput) float64 {
	if c := page.ConsumedCapacity; c != nil && c.CapacityUnits != nil {
		return *c.CapacityUnits
	}
	return float64(page.ScannedCount)
}

// query reads one page. It retries throttled calls.
func (t *Table) query(ctx context.Context, in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
	for again := t.backoff(ctx, rowsReserve); ; {
		out, err := t.cfg.Client.Query(ctx, in, dontRetryThrottling)
		if !throttled(err) {
			return out, err
		}
		if err := again.wait(ctx, 1, err); err != nil {
			return nil, err
		}
	}
}
