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

// maxMarkers is the maximum number of markers in a transaction that also updates the record.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const maxMarkers = 100 - 1

// record writes markers for the batches that are no duplicates, counts them, and settles the uploads that are then
// complete. It also tries to settle uploads that have only duplicates, because the process that counted their last
// batch may have ended before it settled them.
func (t *Table) record(ctx context.Context, parts []part) error {
	uploads := map[events.Origin][]*part{}
	for i := range parts {
		uploads[parts[i].Origin] = append(uploads[parts[i].Origin], &parts[i])
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(t.cfg.Concurrency)
	for origin, all := range uploads {
		g.Go(func() error {
			fresh := slices.DeleteFunc(slices.Clone(all), func(p *part) bool { return p.result.Duplicate })
			last := all[len(all)-1]
			for some := range slices.Chunk(fresh, maxMarkers) {
				if err := t.recordSome(ctx, origin, some); err != nil {
					return fmt.Errorf("counting batch %s and %d more: %w", some[0].id, len(some)-1, err)
				}
			}
			for _, p := range fresh {
				if !p.result.Duplicate {
					last = p
				}
			}
			var err error
			last.result.Settled, err = t.settle(ctx, origin.UploadID())
			return err
		})
	}
	return g.Wait()
}

// recordSome writes the markers of batches of one upload and updates its counters, in one transaction. A batch that
// another call has marked in the meantime becomes a duplicate.
//
// The markers identify the call: if the response to a transaction is lost, the retry finds its own markers, which means
// that the transaction succeeded.
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
		_, err := t.cfg.Client.TransactWriteItems(ctx, in, dontRetryThrottling)
		if err == nil {
			return nil
		}
		if throttled(err) {
			if err := again.wait(ctx, len(fresh), err); err != nil {
				return err
			}
			continue
		}
		reasons, err := cancellationReasons(err)
		if err != nil {
			return err
		}
		var why error
		left := fresh[:0:0]
		for i, r := range reasons {
			switch {
			case r.fault == conditionFailed && textOf(r.item["by"]) == mine:
				return nil
			case r.fault == conditionFailed && i > 0:
				fresh[i-1].result = events.BatchResult{Duplicate: true}
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

// counting returns the update of the record's counters. If Begin has not created the record yet, the update creates it
// with the data of the origin, and Begin adds the rest.
func (t *Table) counting(origin events.Origin, fresh []*part) *types.Update {
	var sum events.Counts
	for _, p := range fresh {
		sum.Applied += p.result.Applied
		sum.Unchanged += p.result.Unchanged
		sum.Superseded += p.result.Superseded
	}
	e := newExpression()
	update := t.opening(e, origin) +
		" ADD " + e.name("applied") + " " + e.value(number(sum.Applied)) +
		", " + e.name("unchanged") + " " + e.value(number(sum.Unchanged)) +
		", " + e.name("superseded") + " " + e.value(number(sum.Superseded)) +
		", " + e.name("batchesApplied") + " " + e.value(number(int64(len(fresh))))
	return &types.Update{
		TableName: &t.cfg.Uploads, Key: item{"id": text(origin.UploadID())}, UpdateExpression: &update,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}
}

// opening returns the beginning of an update expression that creates the record if it does not exist.
func (t *Table) opening(e *expression, origin events.Origin) string {
	return "SET " + e.set("origin", text(string(origin))) +
		", " + e.set("list", text(list)) +
		", " + e.setDefault("status", text(string(events.Publishing))) +
		", " + e.setDefault("uploaded", millis(origin.Time())) +
		", " + e.setDefault("started", millis(t.now()))
}

// reason is the reason why an item of a transaction canceled it.
type reason struct {
	fault fault
	item  item  // that failed the condition, if requested
	error error // nil if the item is not the reason, or if its condition failed
}

// cancellationReasons returns the reasons in the order of the request's items if err is a canceled transaction that can
// be changed or retried. Otherwise it returns err.
func cancellationReasons(err error) ([]reason, error) {
	var c *types.TransactionCanceledException
	if !errors.As(err, &c) {
		return nil, err
	}
	reasons := make([]reason, len(c.CancellationReasons))
	for i, r := range c.CancellationReasons {
		code := aws.ToString(r.Code)
		if code == "None" {
			reasons[i].fault = retryable
			continue
		}
		reasons[i] = reason{fault: faultOf(types.BatchStatementErrorCodeEnum(code)), item: r.Item}
		switch reasons[i].fault {
		case fatal:
			return nil, err
		case retryable:
			reasons[i].error = fmt.Errorf("%s: %s", code, aws.ToString(r.Message))
		}
	}
	return reasons, nil
}
