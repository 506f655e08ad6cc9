package events

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/internal/swar"
)

// Message is what travels on a topic: a CloudEvents 1.0 event in structured JSON mode, and the attributes by which
// subscribers filter (message attributes on SNS, headers on NATS).
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
type Message struct {
	ID         string            // the event's id; a repeated delivery has the same
	Subject    string            // dotted: the type, then what subscribers choose by; a NATS subject as it stands
	Attributes map[string]string // UTF-8 without control characters
	Body       []byte
}

// Types of the events that flavorless sends. A change that old readers can't take gets a new number.
const (
	UpdatesType = "flavorless.updates.v1" // a Batch
	ChangeType  = "flavorless.change.v1"  // a Change
)

// Size is what the message counts for against the limits of SNS: its body and its attributes, in bytes.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
func (m Message) Size() int {
	n := len(m.Body)
	for name, value := range m.Attributes {
		n += len(name) + len("String") + len(value)
	}
	return n
}

// timeLayout is RFC 3339 with milliseconds, always in UTC.
const timeLayout = "2006-01-02T15:04:05.000Z"

// FormatTime gives a time as flavorless writes times everywhere: RFC 3339, UTC, milliseconds.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// appendEnvelope appends a CloudEvents envelope up to its data, whose value and closing brace the caller appends.
// ID and subject may hold any text.
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

// appendString appends s as a JSON string. Names are valid UTF-8 by construction; should one not be, it is mended with
// U+FFFD rather than lost.
func appendString(dst []byte, s string) []byte {
	if swar.Plain(s) {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}
