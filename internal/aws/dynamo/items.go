package dynamo

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flavorless/flavorless/events"
)

// millis is how times are stored.
func millis(at time.Time) types.AttributeValue { return number(at.UnixMilli()) }

// decodeUpload reads a record; see ledger.go and record.go for what writes it. Rejects are left out.
func decodeUpload(record item) (events.Upload, error) {
	in := fields{item: record}
	u := events.Upload{
		ID: in.text("id"), Bucket: in.text("bucket"), Key: in.text("key"), VersionID: in.text("versionId"),
		ETag: in.text("etag"), Size: in.number("size"), Status: events.Status(in.text("status")),
		Format: in.text("format"), RejectsAt: in.text("rejectsAt"),
		Counts: events.Counts{
			Rows: in.number("rows"), Applied: in.number("applied"), Superseded: in.number("superseded"),
			Rejected: in.number("rejected"), Batches: in.number("batches"), BatchesApplied: in.number("batchesApplied"),
		},
		Uploaded: in.time("uploaded"), Started: in.time("started"), Published: in.time("published"), Settled: in.time("settled"),
	}
	if failure := in.text("failure"); failure != "" {
		if err := json.Unmarshal([]byte(failure), &u.Failure); err != nil {
			in.err = fmt.Errorf("its failure: %w", err)
		}
	}
	if u.Status == events.Failed {
		// It can have more batches than its reading knows: an earlier run published them and was killed before it could
		// seal, and when the event came again the object had vanished. These rows are in the table, so they count; they
		// may come even after the upload has failed.
		c := &u.Counts
		c.Rows, c.Batches = c.Applied+c.Superseded+c.Rejected, c.BatchesApplied
	}
	if in.err != nil {
		return events.Upload{}, fmt.Errorf("the record of upload %q can't be read: %w", u.ID, in.err)
	}
	return u, nil
}

// fields reads attributes. One that is not there is zero.
type fields struct {
	item item
	err  error
}

func (f *fields) text(name string) string {
	switch v := f.item[name].(type) {
	case nil:
		return ""
	case *types.AttributeValueMemberS:
		return v.Value
	default:
		f.err = fmt.Errorf("%s is not a text", name)
		return ""
	}
}

func (f *fields) number(name string) int64 {
	switch v := f.item[name].(type) {
	case nil:
		return 0
	case *types.AttributeValueMemberN:
		n, err := strconv.ParseInt(v.Value, 10, 64)
		if err != nil {
			f.err = fmt.Errorf("%s: %w", name, err)
		}
		return n
	default:
		f.err = fmt.Errorf("%s is not a number", name)
		return 0
	}
}

func (f *fields) time(name string) time.Time {
	if f.item[name] == nil {
		return time.Time{}
	}
	return time.UnixMilli(f.number(name)).UTC()
}

func encodeFailure(f *events.Failure) (types.AttributeValue, error) {
	failure, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encoding the failure: %w", err)
	}
	return text(string(failure)), nil
}

func rejectsID(upload string) string { return upload + "/rejects" }

// packRejects compresses the rejects: write units go by the kilobyte, and an item has at most 400 KB. As JSON a hundred
// of them have 70 KB, or 350 KB if they are nothing but control characters; compressed it is 5 KB mostly, and never more
// than the 70.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-items
func packRejects(rejects []events.Reject) (types.AttributeValue, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := json.NewEncoder(z).Encode(rejects); err != nil {
		return nil, fmt.Errorf("encoding the rejects: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compressing the rejects: %w", err)
	}
	return &types.AttributeValueMemberB{Value: packed.Bytes()}, nil
}

// mostUnpacked bounds what unpackRejects takes, in bytes.
const mostUnpacked = 4 << 20

func unpackRejects(v types.AttributeValue) ([]events.Reject, error) {
	packed, ok := v.(*types.AttributeValueMemberB)
	if !ok {
		return nil, fmt.Errorf("they are stored as %T", v)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed.Value))
	if err != nil {
		return nil, err
	}
	var rejects []events.Reject
	if err := json.NewDecoder(io.LimitReader(z, mostUnpacked)).Decode(&rejects); err != nil {
		return nil, err
	}
	return rejects, nil
}
