package events

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/internal/swar"
)

// Message is an event as it is published on a topic: a CloudEvents 1.0 event in structured JSON mode, and attributes by
// which subscribers can filter (message attributes on SNS, headers on NATS).
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
type Message struct {
	ID         string            // id of the event; repeated deliveries have the same id
	Subject    string            // NATS subject: the event type; for a Change, followed by its kind
	Attributes map[string]string // UTF-8 without control characters
	Body       []byte
}

// Types of events, besides [ContinuationType]. An incompatible change gets a new number.
const (
	UpdatesType = "flavorless.updates.v1" // a Batch
	ChangeType  = "flavorless.change.v1"  // a Change
)

// Size returns the size in bytes that SNS limits: that of the body and the attributes.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
func (m Message) Size() int {
	n := len(m.Body)
	for name, value := range m.Attributes {
		n += len(name) + len("String") + len(value)
	}
	return n
}

// timeLayout is RFC 3339 with milliseconds. Times are in UTC.
const timeLayout = "2006-01-02T15:04:05.000Z"

// FormatTime formats a time in the way of all flavorless output: RFC 3339, in UTC, with milliseconds.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// appendEnvelope appends a CloudEvents envelope up to the member "data". The caller appends its value and the closing
// brace. ID and subject may be any text.
func appendEnvelope(dst []byte, source, typ, id, subject string, at time.Time) []byte {
	dst = append(dst, `{"specversion":"1.0","id":`...)
	dst = appendString(dst, id)
	dst = append(dst, `,"source":"`...)
	dst = append(dst, source...)
	dst = append(dst, `","type":"`...)
	dst = append(dst, typ...)
	dst = append(dst, `","subject":`...)
	dst = appendString(dst, subject)
	dst = append(dst, `,"time":"`...)
	dst = at.UTC().AppendFormat(dst, timeLayout)
	return append(dst, `","datacontenttype":"application/json","data":`...)
}

// appendString appends s as a JSON string, with U+FFFD for invalid UTF-8.
func appendString(dst []byte, s string) []byte {
	if swar.Plain(s) {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	dst, _ = jsontext.AppendQuote(dst, s) // the error reports invalid UTF-8
	return dst
}

func wrongType(got, want string) error { return fmt.Errorf("type is %.80q, want %q", got, want) }
