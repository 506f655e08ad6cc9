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

// millis returns a time as it is stored, in milliseconds since 1970.
func millis(at time.Time) types.AttributeValue { return number(at.UnixMilli()) }

// decodeUpload decodes a record that ledger.go and record.go have written. It leaves out the rejects.
func decodeUpload(record item) (events.Upload, error) {
	in := fields{item: record}
	u := events.Upload{
		ID: in.text("id"), Bucket: in.text("bucket"), Key: in.text("key"), VersionID: in.text("versionId"),
		ETag: in.text("etag"), Size: in.number("size"), Status: events.Status(in.text("status")),
		Format: in.text("format"), RejectsAt: in.text("rejectsAt"),
		Counts: events.Counts{
			Rows: in.number("rows"), Applied: in.number("applied"), Unchanged: in.number("unchanged"),
			Superseded: in.number("superseded"), Rejected: in.number("rejected"), Batches: in.number("batches"),
			BatchesApplied: in.number("batchesApplied"),
		},
		Uploaded: in.time("uploaded"), Started: in.time("started"), Published: in.time("published"),
		Settled: in.time("settled"), Sorted: in.number("sorted") != 0,
	}
	if failure := in.text("failure"); failure != "" {
		if err := json.Unmarshal([]byte(failure), &u.Failure); err != nil {
			in.err = fmt.Errorf("failure: %w", err)
		}
	}
	if u.Status == events.Failed {
		// There may be more batches than the summary of the failed read counts: an earlier run published them and was
		// killed, and at the next delivery the object was gone. Their rows are in the table, so they count; they may
		// arrive even after the upload has failed.
		c := &u.Counts
		c.Rows, c.Batches = c.Outcomes(), c.BatchesApplied
	}
	if in.err != nil {
		return events.Upload{}, fmt.Errorf("decoding the record of upload %q: %w", u.ID, in.err)
	}
	return u, nil
}

// fields reads attributes of an item and keeps the last error. A missing attribute is zero.
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
		f.err = fmt.Errorf("attribute %s is not a string", name)
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
			f.err = fmt.Errorf("attribute %s: %w", name, err)
		}
		return n
	default:
		f.err = fmt.Errorf("attribute %s is not a number", name)
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

// packRejects compresses the rejects, because a write costs one unit per kilobyte and an item may have at most 400 KB.
// A hundred rejects as JSON have 70 KB, or 350 KB if they consist of control characters; compressed they have usually 5
// KB, and at most 70.
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

// maxUnpacked is the maximum number of bytes that unpackRejects decompresses.
const maxUnpacked = 4 << 20

func unpackRejects(v types.AttributeValue) ([]events.Reject, error) {
	packed, ok := v.(*types.AttributeValueMemberB)
	if !ok {
		return nil, fmt.Errorf("attribute of type %T, want binary", v)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed.Value))
	if err != nil {
		return nil, err
	}
	var rejects []events.Reject
	if err := json.NewDecoder(io.LimitReader(z, maxUnpacked)).Decode(&rejects); err != nil {
		return nil, err
	}
	return rejects, nil
}
