package dynamo

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
)

// The index that lists the records, and the one partition of it that all of them are in.
const (
	newest = "newest"
	list   = "uploads"
)

// Upload gives the record of an upload, strongly consistent, with its first rejects; events.ErrNotFound if there is none.
func (t *Table) Upload(ctx context.Context, id string) (events.Upload, error) {
	record, err := t.readRecord(ctx, id)
	if err != nil {
		return events.Upload{}, err
	}
	return t.decode(ctx, record)
}

// readUpload is Upload without the rejects.
func (t *Table) readUpload(ctx context.Context, id string) (events.Upload, error) {
	record, err := t.readRecord(ctx, id)
	if err != nil {
		return events.Upload{}, err
	}
	return decodeUpload(record)
}

func (t *Table) readRecord(ctx context.Context, id string) (item, error) {
	if !events.ValidUploadID(id) { // markers and rejects are items, too
		return nil, fmt.Errorf("upload %q: %w", id, events.ErrNotFound)
	}
	return t.readItem(ctx, t.cfg.Uploads, item{"id": text(id)}, "upload "+id)
}

func (t *Table) readItem(ctx context.Context, table string, key item, what string) (item, error) {
	out, err := t.cfg.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, marked(err))
	}
	if out.Item == nil {
		return nil, fmt.Errorf("%s: %w", what, events.ErrNotFound)
	}
	return out.Item, nil
}

// decode makes an Upload of a record, and reads its rejects. They were written in one transaction with what the record
// says of them.
func (t *Table) decode(ctx context.Context, record item) (events.Upload, error) {
	u, err := decodeUpload(record)
	if err != nil {
		return events.Upload{}, err
	}
	u.Rejects = []events.Reject{}
	if record["rejects"] == nil {
		return u, nil
	}
	packed, err := t.readItem(ctx, t.cfg.Uploads, item{"id": text(rejectsID(u.ID))}, "the rejects of upload "+u.ID)
	if err != nil {
		return events.Upload{}, err
	}
	if u.Rejects, err = unpackRejects(packed["rejects"]); err != nil {
		return events.Upload{}, fmt.Errorf("the rejects of upload %s: %w", u.ID, err)
	}
	return u, nil
}

// Uploads lists up to limit uploads, the newest first, in the order of their versions: those older than the upload
// before, or from the newest on if before is empty. An unknown before is events.ErrNotFound. The records come without
// Rejects (nil): Upload has them.
//
// Which uploads there are comes from the index and may lag behind by a moment; what is said of each is current.
func (t *Table) Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error) {
	if limit <= 0 {
		return nil, nil
	}
	e := newExpression()
	condition := e.name("list") + " = " + e.value(text(list))
	if before != "" {
		record, err := t.readRecord(ctx, before)
		if err != nil {
			return nil, err
		}
		condition += " AND " + e.name("origin") + " < " + e.value(record["origin"])
	}
	var ids []string
	for start := item(nil); len(ids) < limit; {
		out, err := t.cfg.Client.Query(ctx, &dynamodb.QueryInput{
			TableName: &t.cfg.Uploads, IndexName: aws.String(newest), KeyConditionExpression: &condition,
			ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
			ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(min(limit-len(ids), 1000))), ExclusiveStartKey: start,
		})
		if err != nil {
			return nil, fmt.Errorf("listing uploads: %w", marked(err))
		}
		for _, keys := range out.Items {
			ids = append(ids, textOf(keys["id"]))
		}
		if start = out.LastEvaluatedKey; start == nil {
			break
		}
	}
	return t.readUploads(ctx, ids)
}

// readUploads reads records, and gives them in the order of the ids.
func (t *Table) readUploads(ctx context.Context, ids []string) ([]events.Upload, error) {
	found := make(map[string]events.Upload, len(ids))
	for some := range slices.Chunk(ids, mostKeys) {
		keys := make([]item, len(some))
		for i, id := range some {
			keys[i] = item{"id": text(id)}
		}
		err := t.getSome(ctx, t.cfg.Uploads, keys, func(record item) error {
			u, err := decodeUpload(record)
			found[u.ID] = u
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("listing uploads: %w", err)
		}
	}
	uploads := make([]events.Upload, 0, len(ids))
	for _, id := range ids {
		if u, ok := found[id]; ok { // nothing removes records; but if somebody does, the index may not know yet
			uploads = append(uploads, u)
		}
	}
	return uploads, nil
}
