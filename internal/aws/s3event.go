package aws

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/events"
)

// DecodeS3Event gives the objects that an event notification of S3 announces as created, in its order. What it says of
// other happenings is left out, and so is the test event that S3 sends when notifications are set up. An error means that
// the event can never be understood; it is events.ErrPermanent.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
func DecodeS3Event(body []byte) ([]events.Object, error) {
	var event struct {
		Event   string // of a test event only
		Records []struct {
			EventName string    `json:"eventName"`
			EventTime time.Time `json:"eventTime"`
			S3        struct {
				Bucket struct {
					Name string `json:"name"`
				} `json:"bucket"`
				Object struct {
					Key       string `json:"key"`
					Size      int64  `json:"size"`
					ETag      string `json:"eTag"`
					VersionID string `json:"versionId"`
					Sequencer string `json:"sequencer"`
				} `json:"object"`
			} `json:"s3"`
		}
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, fmt.Errorf("%w: decoding an S3 event: %w", events.ErrPermanent, err)
	}
	if event.Records == nil && event.Event != "s3:TestEvent" {
		return nil, fmt.Errorf("%w: decoding an S3 event: it has no records", events.ErrPermanent)
	}
	var objects []events.Object
	for i, r := range event.Records {
		// Notifications leave out the prefix that configurations have.
		if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
			continue
		}
		// Form encoding: a space is a +, a + is %2B.
		key, err := url.QueryUnescape(r.S3.Object.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: decoding an S3 event: key of record %d: %w", events.ErrPermanent, i, err)
		}
		if !utf8.ValidString(key) { // S3 has no such keys, and no table would take it
			return nil, fmt.Errorf("%w: decoding an S3 event: the key of record %d is not UTF-8", events.ErrPermanent, i)
		}
		if r.S3.Bucket.Name == "" || key == "" || r.EventTime.IsZero() {
			return nil, fmt.Errorf("%w: decoding an S3 event: record %d lacks the bucket, the key or the time", events.ErrPermanent, i)
		}
		o := events.Object{
			Bucket: r.S3.Bucket.Name, Key: key, VersionID: r.S3.Object.VersionID, ETag: strings.Trim(r.S3.Object.ETag, `"`),
			Sequencer: r.S3.Object.Sequencer, Size: r.S3.Object.Size, Time: r.EventTime.UTC(),
		}
		if o.VersionID == "null" { // of a bucket whose versioning is suspended: the next object overwrites it
			o.VersionID = ""
		}
		objects = append(objects, o)
	}
	return objects, nil
}
