package aws_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws"
)

func TestDecodeS3Event(t *testing.T) {
	at := time.Date(2026, 11, 23, 8, 19, 0, 0, time.UTC)
	for file, want := range map[string][]events.Object{
		"s3-put.json": {{Bucket: "flavors", Key: "uploads/café + crème 100%.csv",
			VersionID: "096fKKXTRTtl3on89fVO.nfljtsv6qko",
			ETag:      "d41d8cd98f00b204e9800998ecf8427e", Sequencer: "0055AED6DCD90281E5", Size: 1024,
			Time: at.Add(123 * time.Millisecond)}},
		"s3-several.json": {
			{Bucket: "flavors", Key: "uploads/big.ndjson.gz", ETag: "3858f62230ac3c915f300c664312c11f-9", Sequencer: "00A1",
				Size: 5 << 30, Time: at},
			{Bucket: "flavors", Key: "uploads/in/a folder/x.csv", ETag: "d41d8cd98f00b204e9800998ecf8427e",
				Time: at.Add(2 * time.Second)},
		},
		"s3-test.json": nil,
	} {
		t.Run(file, func(t *testing.T) {
			body, err := os.ReadFile("testdata/" + file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := aws.DecodeS3Event(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeS3EventRefuses(t *testing.T) {
	const ok = `"eventTime":"2026-11-23T08:19:00Z","eventName":"ObjectCreated:Put"`
	for name, body := range map[string]string{
		"empty":           ``,
		"no JSON":         `hello`,
		"another event":   `{"source":"aws.s3","detail-type":"Object Created"}`,
		"key not escaped": `{"Records":[{` + ok + `,"s3":{"bucket":{"name":"b"},"object":{"key":"100%"}}}]}`,
		"key not UTF-8":   `{"Records":[{` + ok + `,"s3":{"bucket":{"name":"b"},"object":{"key":"%FF"}}}]}`,
		"no key":          `{"Records":[{` + ok + `,"s3":{"bucket":{"name":"b"},"object":{}}}]}`,
		"no bucket":       `{"Records":[{` + ok + `,"s3":{"object":{"key":"k"}}}]}`,
		"no time": `{"Records":[{"eventName":"ObjectCreated:Put",` +
			`"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`,
		"time not RFC 3339": `{"Records":[{"eventTime":"today","eventName":"ObjectCreated:Put"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := aws.DecodeS3Event([]byte(body)); !errors.Is(err, events.ErrPermanent) {
				t.Errorf("DecodeS3Event(%s) = %v, %v, want events.ErrPermanent", body, got, err)
			}
		})
	}
}

// FuzzDecodeS3Event checks that decoded objects are complete, and decode to the same when encoded as an event again.
func FuzzDecodeS3Event(f *testing.F) {
	for _, file := range []string{"s3-put.json", "s3-several.json", "s3-test.json"} {
		body, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add(encode([]events.Object{{Bucket: "b", Key: "%+ /é", Time: time.UnixMilli(1).UTC()}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		objects, err := aws.DecodeS3Event(body)
		if err != nil {
			if !errors.Is(err, events.ErrPermanent) || len(objects) > 0 {
				t.Errorf("got %+v, error %v, want events.ErrPermanent and no objects", objects, err)
			}
			return
		}
		for _, o := range objects {
			if o.Bucket == "" || o.Key == "" || o.Time.IsZero() || !utf8.ValidString(o.Key) ||
				strings.Trim(o.ETag, `"`) != o.ETag {
				t.Errorf("got %+v, want a bucket, a key in UTF-8, a time, and an ETag without quotes", o)
			}
		}
		again, err := aws.DecodeS3Event(encode(objects))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(objects, again); diff != "" {
			t.Errorf("objects (-first +again):\n%s", diff)
		}
	})
}

// encode returns the event that S3 would send.
func encode(objects []events.Object) []byte {
	type m = map[string]any
	records := []m{}
	for _, o := range objects {
		records = append(records, m{"eventName": "ObjectCreated:Put", "eventTime": o.Time,
			"s3": m{"bucket": m{"name": o.Bucket}, "object": m{
				"key": url.QueryEscape(o.Key), "size": o.Size, "eTag": o.ETag, "versionId": o.VersionID,
				"sequencer": o.Sequencer}}})
	}
	body, err := json.Marshal(m{"Records": records})
	if err != nil {
		panic(err)
	}
	return body
}
