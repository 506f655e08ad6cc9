package topics

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/flavorless/flavorless/events"
	internalaws "github.com/flavorless/flavorless/internal/aws"
)

// Validate returns an [events.ErrPermanent] for a message that SNS or its subscriber's queue would refuse or silently
// drop.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
func Validate(m events.Message) error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: message %q: %s", events.ErrPermanent, m.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case len(m.Body) == 0:
		return invalid("the body is empty")
	case !utf8.Valid(m.Body):
		return invalid("the body is not UTF-8")
	case len(m.Attributes) > internalaws.MaxAttributes:
		return invalid("it has %d attributes; at most %d are allowed", len(m.Attributes), internalaws.MaxAttributes)
	case m.Size() > maxRequest:
		return invalid("it has %d bytes with attributes; at most %d are allowed", m.Size(), maxRequest)
	}
	for name, value := range m.Attributes {
		if !validAttributeName(name) {
			return invalid("%q is not a valid attribute name", name)
		}
		if value == "" || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return invalid("the value of attribute %q is empty, not UTF-8, or has control characters", name)
		}
	}
	return nil
}

func validAttributeName(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
	lower := strings.ToLower(name)
	return name != "" && len(name) <= 256 && strings.Trim(name, letters) == "" && name[0] != '.' &&
		name[len(name)-1] != '.' &&
		!strings.Contains(name, "..") && !strings.HasPrefix(lower, "aws.") && !strings.HasPrefix(lower, "amazon.")
}
