package dynamo

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/flavorless/flavorless/events"
)

// The index that lists the records, and its partition key, which is the same for all.
const (
	newest = "newest"
	list   = "uploads"
)

// Upload returns the record of an upload with its first rejects, with strong consistency. It returns
// [events.ErrNotFound] if there is none.
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
	if !events.ValidUploadID(id) { // the id of a marker or of rejects, for example
		return nil, fmt.Errorf("upload %q: %w", id, events.ErrNotFound)
	}
	return t.readItem(ctx, t.cfg.Uploads, item{"id": text(id)}, "upload "+id)
}

func (t *Table) readItem(ctx context.Context, table string, key item, what string) (item, error) {
	out, err := t.cfg.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key,
		ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, markUnavailable(err))
	}
	if out.Item == nil {
		return nil, fmt.Errorf("%s: %w", what, events.ErrNotFound)
	}
	return out.Item, nil
}

// decode decodes a record and reads its rejects. If the record says that there are rejects, they exist, because one
// transaction wrote both.
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
		return events.Upload{}, fmt.Errorf("decoding the rejects of upload %s: %w", u.ID, err)
	}
	return u, nil
}

// Uploads returns up to limit uploads, newest first in the order of their versions: those that are older than the
// upload before, or the newest if before is empty. It returns [events.ErrNotFound] for an unknown before. Rejects are
// nil; Upload returns them.
//
// The list comes from the index, which may be some milliseconds old; the records are current.
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
			return nil, fmt.Errorf("listing uploads: %w", markUnavailable(err))
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

// readUploads returns records in the order of the ids.
func (t *Table) readUploads(ctx context.Context, ids []string) ([]events.Upload, error) {
	found := make(map[string]events.Upload, len(ids))
	for some := range slices.Chunk(ids, maxKeys) {
		keys := make([]item, len(some))
		for i, id := range some {
			keys[i] = item{"id": text(id)}
		}
		err := t.batchGet(ctx, t.cfg.Uploads, keys, func(record item) error {
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
		if u, ok := found[id]; ok { // an operator may have deleted the record, and the index may be older
			uploads = append(uploads, u)
		}
	}
	return uploads, nil
}
