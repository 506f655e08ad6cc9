package dynamo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flavorless/flavorless/events"
)

// Begin creates the upload's record with the status publishing and with Sorted set to sort, or returns the existing
// record unchanged if the event was delivered before. It returns [events.ErrPermanent] for an object without a valid
// origin.
func (t *Table) Begin(ctx context.Context, o events.Object, sort bool) (events.Upload, error) {
	id := o.UploadID()
	origin, err := o.Origin()
	if err != nil {
		return events.Upload{}, fmt.Errorf("beginning upload %s of %s: %w: %w", id, o.Key, events.ErrPermanent, err)
	}
	// If the event was delivered before, a read costs less than a write whose condition fails, and it also succeeds while
	// a transaction is counting a batch in the record.
	switch record, err := t.readRecord(ctx, id); {
	case err == nil && record["key"] != nil:
		return t.decode(ctx, record)
	case err != nil && !errors.Is(err, events.ErrNotFound):
		return events.Upload{}, fmt.Errorf("beginning upload %s: %w", id, err)
	}
	e := newExpression()
	update := t.opening(e, origin) + ", " + e.set("bucket", text(o.Bucket)) + ", " + e.set("key", text(o.Key)) +
		", " + e.set("versionId", text(o.VersionID)) + ", " + e.set("etag", text(o.ETag)) + ", " +
		e.set("size", number(o.Size))
	if sort {
		update += ", " + e.set("sorted", number(1))
	}
	condition := "attribute_not_exists(" + e.name("key") + ")" // Apply may have created the record, without a key
	out, err := t.cfg.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.cfg.Uploads, Key: item{"id": text(id)},
		UpdateExpression: &update, ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values, ReturnValues: types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var exists *types.ConditionalCheckFailedException
	var record item
	switch {
	case errors.As(err, &exists):
		record = exists.Item
	case err != nil:
		return events.Upload{}, fmt.Errorf("beginning upload %s: %w", id, err)
	default:
		record = out.Attributes
	}
	return t.decode(ctx, record)
}

// Seal records how the read of the upload's file ended. Only the first call has an effect. If every batch has been
// applied by then, the upload becomes live or failed, and settled is its record. At most one call of Seal or Apply
// returns the settled record; none does if the process ends before it can. Seal returns [events.ErrNotFound] if there
// is no record.
func (t *Table) Seal(ctx context.Context, id string, r events.ReadSummary) (settled *events.Upload, err error) {
	in, err := t.sealing(id, r)
	if err != nil {
		return nil, fmt.Errorf("sealing upload %s: %w", id, err)
	}
	for again := t.backoff(ctx, recordReserve); ; {
		_, err = t.cfg.Client.TransactWriteItems(ctx, in)
		if err == nil {
			break
		}
		reasons, err := cancellationReasons(err)
		if err != nil {
			return nil, fmt.Errorf("sealing upload %s: %w", id, err)
		}
		if reasons[0].fault == conditionFailed {
			if reasons[0].item == nil {
				return nil, fmt.Errorf("sealing upload %s: %w", id, events.ErrNotFound)
			}
			break // it was sealed before, but perhaps not settled
		}
		in.ClientRequestToken = nil // the retry is another transaction
		for _, r := range reasons {
			if r.error != nil {
				err = r.error
			}
		}
		if err := again.wait(ctx, 1, err); err != nil {
			return nil, fmt.Errorf("sealing upload %s: %w", id, err)
		}
	}
	return t.settle(ctx, id)
}

// sealing returns the transaction that seals a record and writes the rejects.
func (t *Table) sealing(id string, r events.ReadSummary) (*dynamodb.TransactWriteItemsInput, error) {
	e := newExpression()
	update := "SET " + e.set("status", text(string(events.Applying))) +
		", " + e.set("format", text(r.Format)) + ", " + e.set("rejectsAt", text(r.RejectsAt)) +
		", " + e.set("rows", number(r.Rows)) + ", " + e.set("rejected", number(r.Rejected)) +
		", " + e.set("batches", number(r.Batches)) + ", " + e.set("published", millis(r.At))
	in := &dynamodb.TransactWriteItemsInput{TransactItems: make([]types.TransactWriteItem, 1)}
	if r.Failure != nil {
		failure, err := encodeFailure(r.Failure)
		if err != nil {
			return nil, err
		}
		update += ", " + e.set("failure", failure)
	}
	if len(r.Rejects) > 0 {
		kept := r.Rejects[:min(len(r.Rejects), events.MaxRejects)]
		update += ", " + e.set("rejects", number(int64(len(kept))))
		packed, err := packRejects(kept)
		if err != nil {
			return nil, err
		}
		in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Put: &types.Put{
			TableName: &t.cfg.Uploads, Item: item{"id": text(rejectsID(id)), "rejects": packed},
		}})
	}
	if r.Superseded > 0 {
		update += " ADD " + e.name("superseded") + " " + e.value(number(r.Superseded))
	}
	condition := e.name("status") + " = " + e.value(text(string(events.Publishing)))
	in.TransactItems[0].Update = &types.Update{
		TableName: &t.cfg.Uploads, Key: item{"id": text(id)}, UpdateExpression: &update, ConditionExpression: &condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	return in, nil
}

// settle makes a sealed upload whose batches have all been applied live or failed. It returns the record if this call
// changed it.
//
// It first reads the record with strong consistency, because a failed condition costs more than a read. No upload is
// missed: one of the transactions that seal the upload and count its batches is the last, and settle is called after
// it.
//
// The token identifies the update as that of this call, even if the response is lost and the SDK retries.
func (t *Table) settle(ctx context.Context, id string) (*events.Upload, error) {
	u, err := t.readUpload(ctx, id)
	if errors.Is(err, events.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("settling: %w", err)
	}
	if u.Status != events.Applying || u.Counts.BatchesApplied < u.Counts.Batches {
		return nil, nil
	}
	end := events.Live
	if u.Failure != nil {
		end = events.Failed
	}
	token := rand.Text()
	e := newExpression()
	update := "SET " + e.set("status", text(string(end))) + ", " + e.set("settled", millis(t.now())) + ", " +
		e.set("settledBy", text(token))
	condition := e.name("status") + " = " + e.value(text(string(events.Applying)))
	out, err := t.cfg.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.cfg.Uploads, Key: item{"id": text(id)},
		UpdateExpression: &update, ConditionExpression: aws.String(condition),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values, ReturnValues: types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	var record item
	switch {
	case errors.As(err, &failed):
		if textOf(failed.Item["settledBy"]) != token {
			return nil, nil // another call settled it
		}
		record = failed.Item
	case err != nil:
		return nil, fmt.Errorf("settling upload %s: %w", id, err)
	default:
		record = out.Attributes
	}
	if u, err = t.decode(ctx, record); err != nil {
		return nil, fmt.Errorf("settling: %w", err)
	}
	c := u.Counts
	if c.Outcomes() != c.Rows || c.BatchesApplied != c.Batches {
		// Only a summary that did not count all published batches can cause this.
		t.cfg.Logger.ErrorContext(ctx, "counts of upload don't add up", slog.String("upload", u.ID), slog.Any("counts", c))
	}
	return &u, nil
}
