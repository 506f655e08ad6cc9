package dynamo_test

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
)

// FuzzUploadRecord checks that a record with arbitrary types and values is decoded or refused, that a decoded upload
// has the values of the record, and that the counts of a failed upload add up.
func FuzzUploadRecord(f *testing.F) {
	f.Add("live", `{"code":"bad_header","reason":"x","offset":1}`, "12", int64(5), int64(1), uint8(0))
	f.Add("failed", "", "1e3", int64(-1), int64(1<<62), uint8(1))
	f.Add("", `{"code":5}`, "99999999999999999999", int64(0), int64(0), uint8(2))
	f.Add("failed", "null", "", int64(7), int64(8), uint8(4))
	f.Fuzz(func(t *testing.T, status, failure, size string, applied, superseded int64, kind uint8) {
		text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
		number := func(n int64) types.AttributeValue {
			return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
		}
		record := map[string]types.AttributeValue{
			"id": text("u"), "status": text(status), "failure": text(failure), "size": &types.AttributeValueMemberN{Value: size},
			"applied": number(applied), "superseded": number(superseded), "uploaded": number(superseded),
		}
		switch kind % 5 {
		case 1:
			record["status"] = &types.AttributeValueMemberBOOL{Value: true}
		case 2:
			record["uploaded"] = text(size)
		case 3:
			record["size"] = &types.AttributeValueMemberNULL{Value: true}
		case 4:
			delete(record, "size")
		}
		u, err := dynamo.DecodeUpload(record)
		if err != nil {
			if u.ID != "" {
				t.Errorf("DecodeUpload() = %+v, %v, want no upload with an error", u, err)
			}
			return
		}
		if kind%5 > 0 && kind%5 < 4 {
			t.Errorf("DecodeUpload() = %+v for a record with wrong types, want an error", u)
		}
		if u.ID != "u" || string(u.Status) != status || u.Counts.Applied != applied ||
			!u.Uploaded.Equal(time.UnixMilli(superseded)) {
			t.Errorf("DecodeUpload(%v) = %+v", record, u)
		}
		if c := u.Counts; u.Status == events.Failed && c.Rows != c.Applied+c.Superseded+c.Rejected {
			t.Errorf("the counts of a failed upload don't add up: %+v", c)
		}
		if u.Failure == nil {
			return
		}
		if record["failure"], err = dynamo.EncodeFailure(u.Failure); err != nil {
			t.Fatal(err)
		}
		again, err := dynamo.DecodeUpload(record)
		if diff := cmp.Diff(u, again); err != nil || diff != "" {
			t.Errorf("after encoding the failure again: error %v, upload (-first +again):\n%s", err, diff)
		}
	})
}

// FuzzRejects checks that arbitrary packed rejects are unpacked or refused, in bounded memory, and that unpacked
// rejects survive packing.
func FuzzRejects(f *testing.F) {
	packed := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(text)); err != nil {
			f.Fatal(err)
		}
		if err := z.Close(); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	f.Add([]byte(`[{"line":2,"column":1,"offset":14,"code":"missing_person","reason":"x","raw":"\u0000,\ufffd"}]`), true)
	f.Add([]byte(`[null,{}]`), true)
	f.Add([]byte("["+string(bytes.Repeat([]byte(" "), 5<<20))), true)
	f.Add(packed("[]"), false)
	f.Add([]byte{0x1f, 0x8b, 8}, false)
	f.Fuzz(func(t *testing.T, content []byte, pack bool) {
		if pack {
			content = packed(string(content))
		}
		rejects, err := dynamo.UnpackRejects(&types.AttributeValueMemberB{Value: content})
		if err != nil {
			return
		}
		value, err := dynamo.PackRejects(rejects)
		if err != nil {
			t.Fatal(err)
		}
		again, err := dynamo.UnpackRejects(value)
		if diff := cmp.Diff(rejects, again); err != nil || diff != "" {
			t.Errorf("after packing again: error %v, rejects (-first +again):\n%s", err, diff)
		}
	})
}
