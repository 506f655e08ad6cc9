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

// DecodeS3Event returns the created objects in an event notification of S3, in the order of its records. It ignores
// other events, and the test event that S3 sends when notifications are configured. It returns an [events.ErrPermanent]
// if the notification is invalid.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
func DecodeS3Event(body []byte) ([]events.Object, error) {
	var event struct {
		Event   string // only in a test event
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
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: decoding an S3 event: %w", events.ErrPermanent, fmt.Errorf(format, args...))
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, invalid("%w", err)
	}
	if event.Records == nil && event.Event != "s3:TestEvent" {
		return nil, invalid("no Records")
	}
	var objects []events.Object
	for i, r := range event.Records {
		// Event names in notifications lack the prefix s3: of those in configurations.
		if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
			continue
		}
		// Keys are form-encoded: + is a space.
		key, err := url.QueryUnescape(r.S3.Object.Key)
		if err != nil {
			return nil, invalid("key of record %d: %w", i, err)
		}
		if !utf8.ValidString(key) { // S3 accepts no such key, and tables could not store it
			return nil, invalid("key %q of record %d is not UTF-8", key, i)
		}
		if r.S3.Bucket.Name == "" || key == "" || r.EventTime.IsZero() {
			return nil, invalid("record %d lacks the bucket name, the key or the time", i)
		}
		o := events.Object{
			Bucket: r.S3.Bucket.Name, Key: key, VersionID: r.S3.Object.VersionID, ETag: strings.Trim(r.S3.Object.ETag, `"`),
			Sequencer: r.S3.Object.Sequencer, Size: r.S3.Object.Size, Time: r.EventTime.UTC(),
		}
		if o.VersionID == "null" { // versioning is suspended: the next object with this key overwrites the version
			o.VersionID = ""
		}
		objects = append(objects, o)
	}
	return objects, nil
}
