package dynamo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
)

// comparing is the partition key of all items of the table of comparisons.
const comparing = "comparing"

// BeginComparing announces that the batches of an upload may leave rows unchanged, and returns true. From then on, a
// call of Apply that writes a row of an older upload finds the upload in the list. It returns false if the table of
// comparisons is not configured, or if maxComparing uploads are already in the list that were uploaded less than a day
// before, and [events.ErrNotFound] if there is no record of the upload. It may be repeated.
func (t *Table) BeginComparing(ctx context.Context, id string) (bool, error) {
	if t.cfg.Comparisons == "" {
		return false, nil
	}
	record, err := t.readRecord(ctx, id)
	if err != nil {
		return false, fmt.Errorf("announcing upload %s as comparing: %w", id, err)
	}
	origin := events.Origin(textOf(record["origin"]))
	recent, err := t.comparingAfter(ctx, dayBefore(origin))
	if err != nil {
		return false, fmt.Errorf("announcing upload %s as comparing: %w", id, err)
	}
	if len(recent) >= maxComparing && !slices.Contains(recent, origin) {
		return false, nil
	}
	_, err = t.cfg.Client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &t.cfg.Comparisons, Item: item{
		"list": text(comparing), "origin": record["origin"], "expires": t.expiry(),
	}})
	if err != nil {
		return false, fmt.Errorf("announcing upload %s as comparing: %w", id, markUnavailable(err))
	}
	return true, nil
}

// maxComparing is the maximum number of comparing uploads of a day. A late batch of an older upload needs rows of all
// that are newer.
const maxComparing = 64

// dayBefore returns a text that sorts between the origins of uploads of more and of less than a day before.
func dayBefore(origin events.Origin) events.Origin {
	return events.Origin(fmt.Sprintf("%012x", max(origin.Time().Add(-24*time.Hour).UnixMilli(), 0)))
}

// repair writes the rows that newer comparing uploads have for the people in the batches, unless all batches are
// duplicates. Such an upload may have left a person unchanged because it read the table before this call wrote to it.
// It announced itself before it read, so repair, which looks after the write, finds it.
//
// The rows that repair writes replace others in turn, so it looks again until it finds nothing more. It does not matter
// which rows this call has written, because an earlier attempt may have written the others and ended before it looked.
func (t *Table) repair(ctx context.Context, parts []part, repair events.Repair) error {
	var batches []events.Batch
	var oldest events.Origin
	for _, p := range parts {
		if p.result.Duplicate {
			continue
		}
		if batches = append(batches, p.Batch); oldest == "" || p.Origin < oldest {
			oldest = p.Origin
		}
	}
	if t.cfg.Comparisons == "" || len(batches) == 0 {
		return nil
	}
	var known []events.Origin
	for {
		found, err := t.comparingAfter(ctx, oldest)
		if err != nil {
			return fmt.Errorf("looking for newer uploads: %w", err)
		}
		found = slices.DeleteFunc(found, func(o events.Origin) bool { return slices.Contains(known, o) })
		if len(found) == 0 {
			return nil
		}
		repairs, err := repair(ctx, found, batches)
		if err != nil {
			return fmt.Errorf("reading rows of newer uploads: %w", err)
		}
		rows := make([]part, len(repairs))
		for i, b := range repairs {
			b.Compare = false // these rows replace those that were left unchanged
			rows[i] = part{Batch: b}
		}
		if err := t.store(ctx, newFold(rows)); err != nil {
			return fmt.Errorf("writing rows of newer uploads: %w", err)
		}
		known = append(known, found...)
	}
}

// comparingAfter returns the origins of the announced uploads that are newer than origin, with strong consistency.
func (t *Table) comparingAfter(ctx context.Context, origin events.Origin) (found []events.Origin, err error) {
	e := newExpression()
	condition := e.name("list") + " = " + e.value(text(comparing)) + " AND " + e.name("origin") + " > " +
		e.value(text(string(origin)))
	in := &dynamodb.QueryInput{
		TableName: &t.cfg.Comparisons, ConsistentRead: aws.Bool(true), KeyConditionExpression: &condition,
		ProjectionExpression:     aws.String(e.name("origin")),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
	for {
		page, err := t.query(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			found = append(found, events.Origin(textOf(item["origin"])))
		}
		if in.ExclusiveStartKey = page.LastEvaluatedKey; in.ExclusiveStartKey == nil {
			return found, nil
		}
	}
}
