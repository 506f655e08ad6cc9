package broker

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/events"
)

// Headers beside the attributes.
const (
	headerID          = "ce-id"
	headerContentType = "content-type"
	contentType       = "application/cloudevents+json"
)

// Encode returns m as a NATS message. If it is invalid or not one of the stream, the error wraps [events.ErrPermanent].
func Encode(stream Stream, m events.Message) (*nats.Msg, error) {
	refuse := func(format string, v ...any) (*nats.Msg, error) {
		return nil, fmt.Errorf("message %q: %s: %w", m.ID, fmt.Sprintf(format, v...), events.ErrPermanent)
	}
	if !stream.Accepts(m.Subject) {
		return refuse("subject %q is not one of stream %s", m.Subject, stream)
	}
	if len(m.Body) == 0 { // as with SNS
		return refuse("the body is empty")
	}
	header := make(nats.Header, len(m.Attributes)+2)
	header[headerContentType] = []string{contentType}
	size := len(m.Subject) + len(m.ID) + len(m.Body)
	if m.ID != "" {
		if !validValue(m.ID) {
			return refuse("the id can't be the value of a header")
		}
		header[headerID] = []string{m.ID}
	}
	for name, value := range m.Attributes {
		if !validName(name) || reserved(name) {
			return refuse("%q is not allowed as the name of an attribute", name)
		}
		if !validValue(value) {
			return refuse("attribute %s: %q is empty, not UTF-8, or has control characters or surrounding white space",
				name, value)
		}
		header[name] = []string{value}
		size += len(name) + len(value)
	}
	if size > MaxMessage {
		return refuse("it has %d bytes, more than the limit of %d", size, MaxMessage)
	}
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Body}, nil
}

// Decode returns the id and the attributes of a stored message.
func Decode(header nats.Header) (id string, attributes map[string]string) {
	for name, values := range header {
		switch {
		case len(values) == 0:
		case name == headerID:
			id = values[0]
		case !reserved(name):
			if attributes == nil {
				attributes = make(map[string]string, len(header))
			}
			attributes[name] = values[0]
		}
	}
	return id, attributes
}

// PublishedHeader returns the header that a stored message was published with.
func PublishedHeader(stored nats.Header) nats.Header {
	header := make(nats.Header, len(stored))
	for name, values := range stored {
		if !reserved(name) || name == headerID || name == headerContentType {
			header[name] = values
		}
	}
	return header
}

// IsChange reports whether a stored message is a change as it was published: with an id, and on the subject that its
// own attributes name.
func IsChange(m events.Message) bool {
	return m.ID != "" && len(m.Body) > 0 && m.Subject == events.ChangeType+"."+m.Attributes["kind"]
}

// validName reports whether SNS and NATS both allow the name: letters, digits, hyphens and underscores.
func validName(name string) bool {
	for i := range len(name) {
		c := name[i] | 0x20
		if (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') && name[i] != '-' && name[i] != '_' {
			return false
		}
	}
	return name != ""
}

// reserved reports whether a header has a meaning to the server or to this program. Nats-Rollup, for example, empties a
// stream.
func reserved(name string) bool {
	name = strings.ToLower(name)
	return name == headerID || name == headerContentType ||
		strings.HasPrefix(name, "nats-") || strings.HasPrefix(name, "flavorless-")
}

// validValue reports whether a header transports the value unchanged.
func validValue(value string) bool {
	if value == "" || strings.TrimSpace(value) != value || !utf8.ValidString(value) {
		return false
	}
	for _, r := range value {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
