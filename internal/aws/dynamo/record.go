package dynamo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/flavorless/flavorless/events"
)

// mostMarkers is how many markers fit into a transaction, beside the record.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const mostMarkers = 100 - 1

// record marks and counts the batches that are no duplicates, and settles the uploads that are complete by that. Uploads of
// which there are only duplicates are looked at, too: who counted their last batch may have died before settling them.
func (t *Table) record(ctx context.Context, parts []part) error {
	uploads := map[events.Origin][]*part{}
	for i := range parts {
		uploads[parts[i].Origin] = append(uploads[parts[i].Origin], &parts[i])
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(t.cfg.Concurrency)
	for origin, all := range uploads {
		g.Go(func() error {
			fresh := slices.DeleteFunc(slices.Clone(all), func(p *part) bool { return p.tally.Duplicate })
			last := all[len(all)-1]
			for some := range slices.Chunk(fresh, mostMarkers) {
				if err := t.recordSome(ctx, origin, some); err != nil {
					return fmt.Errorf("counting batch %s and %d more: %w", some[0].id, len(some)-1, err)
				}
			}
			for _, p := range fresh {
				if !p.tally.Duplicate {
					last = p
				}
			}
			var err error
			last.tally.Settled, err = t.settle(ctx, origin.UploadID())
			return err
		})
	}
	return g.Wait()
}

// recordSome puts the markers of batches of one upload and moves its counters, in one transaction. A batch that another
// call marks meanwhile becomes a duplicate.
//
// The markers tell whose they are: a transaction whose answer was lost, and that is then tried again, meets its own ones. It
// put all of them or none.
func (t *Table) recordSome(ctx context.Context, origin events.Origin, fresh []*part) error {
	mine := rand.Text()
	for again := t.backoff(ctx, recordReserve); len(fresh) > 0; {
		in := &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{Update: t.counting(origin, fresh)}}}
		for _, p := range fresh {
			in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Put: &types.Put{
				TableName: &t.cfg.Uploads, Item: item{"id": text(p.id), "by": text(mine), "expires": t.expiry()},
				ConditionExpression:                 aws.String("attribute_not_exists(id)"),
				ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
			}})
		}
		_, err := t.cfg.Client.TransactWriteItems(ctx, in, throttledOnce)
		if err == nil {
			return nil
		}
		if throttled(err) {
			if err := again.wait(ctx, len(fresh), err); err != nil {
				return err
			}
			continue
		}
		reasons, err := cancelled(err)
		if err != nil {
			return err
		}
		var why error
		left := fresh[:0:0]
		for i, r := range reasons {
			switch {
			case r.fault == lost && textOf(r.item["by"]) == mine:
				return nil
			case r.fault == lost && i > 0:
				fresh[i-1].tally = events.BatchResult{Duplicate: true}
				continue
			case r.error != nil:
				why = r.error
			}
			if i > 0 {
				left = append(left, fresh[i-1])
			}
		}
		fresh = left
		if why != nil && len(fresh) > 0 {
			if err := again.wait(ctx, len(fresh), why); err != nil {
				return err
			}
		}
	}
	return nil
}

// counting is the update of the record. Where Begin has not been, it makes a record that holds only what the origin
// says; Begin will fill it in.
func (t *Table) counting(origin events.Origin, fresh []*part) *types.Update {
	var sum events.Counts
	for _, p := range fresh {
		sum.Applied += p.tally.Applied
		sum.Superseded += p.tally.Superseded
	}
	e := newExpression()
	update := t.opening(e, origin) +
		" ADD " + e.name("applied") + " " + e.value(number(sum.Applied)) +
		", " + e.name("superseded") + " " + e.value(number(sum.Superseded)) +
		", " + e.name("batchesApplied") + " " + e.value(number(int64(len(fresh))))
	return &types.Update{
		TableName: &t.cfg.Uploads, Key: item{"id": text(origin.UploadID())}, UpdateExpression: &update,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
}

// opening is how a record begins, whoever is first.
func (t *Table) opening(e *expression, origin events.Origin) string {
	return "SET " + e.set("origin", text(string(origin))) +
		", " + e.set("list", text(list)) +
		", " + e.start("status", text(string(events.Publishing))) +
		", " + e.start("uploaded", millis(origin.Time())) +
		", " + e.start("started", millis(t.now()))
}

// reason is why an item kept its transaction from happening.
type reason struct {
	fault fault
	item  item  // that did not meet the condition, if asked for
	error error // unless it has no part in it, or its condition is what failed
}

// cancelled gives the reasons, one an item in the order of the request, if err is a cancelled transaction that can be
// mended or tried again. Any other error comes back.
func cancelled(err error) ([]reason, error) {
	var c *types.TransactionCanceledException
	if !errors.As(err, &c) {
		return nil, err
	}
	reasons := make([]reason, len(c.CancellationReasons))
	for i, r := range c.CancellationReasons {
		code := aws.ToString(r.Code)
		if code == "None" {
			reasons[i].fault = busy
			continue
		}
		reasons[i] = reason{fault: faultOf(types.BatchStatementErrorCodeEnum(code)), item: r.Item}
		switch reasons[i].fault {
		case fatal:
			return nil, err
		case busy:
			reasons[i].error = fmt.Errorf("%s: %s", code, aws.ToString(r.Message))
		}
	}
	return reasons, nil
}
