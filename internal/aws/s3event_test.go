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
		"s3-put.json": {{Bucket: "flavors", Key: "uploads/café + crème 100%.csv", VersionID: "096fKKXTRTtl3on89fVO.nfljtsv6qko",
			ETag: "d41d8cd98f00b204e9800998ecf8427e", Sequencer: "0055AED6DCD90281E5", Size: 1024, Time: at.Add(123 * time.Millisecond)}},
		"s3-several.json": {
			{Bucket: "flavors", Key: "uploads/big.ndjson.gz", ETag: "3858f62230ac3c915f300c664312c11f-9", Sequencer: "00A1", Size: 5 << 30, Time: at},
			{Bucket: "flavors", Key: "uploads/in/a folder/x.csv", ETag: "d41d8cd98f00b204e9800998ecf8427e", Time: at.Add(2 * time.Second)},
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
		"nothing":          ``,
		"no JSON":          `hello`,
		"another event":    `{"source":"aws.s3","detail-type":"Object Created"}`,
		"a key not to be":  `{"Records":[{` + ok + `,"s3":{"bucket":{"name":"b"},"object":{"key":"100%"}}}]}`,
		"a key not UTF-8":  `{"Records":[{` + ok + `,"s3":{"bucket":{"name":"b"},"object":{"key":"%FF"}}}]}`,
		"no key":           `{"Records":[{` + ok + `,"s3":{"bucket":{"name":"b"},"object":{}}}]}`,
		"no bucket":        `{"Records":[{` + ok + `,"s3":{"object":{"key":"k"}}}]}`,
		"no time":          `{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}`,
		"a time not to be": `{"Records":[{"eventTime":"today","eventName":"ObjectCreated:Put"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := aws.DecodeS3Event([]byte(body)); !errors.Is(err, events.ErrPermanent) {
				t.Errorf("got %v, error %v, want events.ErrPermanent", got, err)
			}
		})
	}
}

// FuzzDecodeS3Event: what is decoded can be announced again, and decodes to the same.
func FuzzDecodeS3Event(f *testing.F) {
	for _, file := range []string{"s3-put.json", "s3-several.json", "s3-test.json"} {
		body, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add(announce([]events.Object{{Bucket: "b", Key: "%+ /é", Time: time.UnixMilli(1).UTC()}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		objects, err := aws.DecodeS3Event(body)
		if err != nil {
			if !errors.Is(err, events.ErrPermanent) || len(objects) > 0 {
				t.Errorf("got %+v, error %v, which has to be events.ErrPermanent", objects, err)
			}
			return
		}
		for _, o := range objects {
			if o.Bucket == "" || o.Key == "" || o.Time.IsZero() || !utf8.ValidString(o.Key) || strings.Contains(o.ETag, `"`) && strings.Trim(o.ETag, `"`) != o.ETag {
				t.Errorf("got %+v", o)
			}
		}
		again, err := aws.DecodeS3Event(announce(objects))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(objects, again); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}

// announce writes the event that S3 would send.
func announce(objects []events.Object) []byte {
	type m = map[string]any
	records := []m{}
	for _, o := range objects {
		records = append(records, m{"eventName": "ObjectCreated:Put", "eventTime": o.Time, "s3": m{"bucket": m{"name": o.Bucket}, "object": m{
			"key": url.QueryEscape(o.Key), "size": o.Size, "eTag": o.ETag, "versionId": o.VersionID, "sequencer": o.Sequencer}}})
	}
	body, err := json.Marshal(m{"Records": records})
	if err != nil {
		panic(err)
	}
	return body
}
