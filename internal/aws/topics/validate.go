package topics

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/flavorless/flavorless/events"
	ours "github.com/flavorless/flavorless/internal/aws"
)

// sendable refuses, with events.ErrPermanent, what SNS or the queue behind it would refuse or silently drop.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
func sendable(m events.Message) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: message %q: %s", events.ErrPermanent, m.ID, fmt.Sprintf(format, args...))
	}
	switch {
	case len(m.Body) == 0:
		return bad("its body is empty")
	case !utf8.Valid(m.Body):
		return bad("its body is not UTF-8")
	case len(m.Attributes) > ours.MaxAttributes:
		return bad("it has %d attributes, %d are allowed", len(m.Attributes), ours.MaxAttributes)
	case m.Size() > maxRequest:
		return bad("it has %d bytes with its attributes, %d are allowed", m.Size(), maxRequest)
	}
	for name, value := range m.Attributes {
		if !attributeName(name) {
			return bad("%q can't be an attribute's name", name)
		}
		if value == "" || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return bad("the value of its attribute %q is empty, not UTF-8, or has control characters", name)
		}
	}
	return nil
}

func attributeName(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
	lower := strings.ToLower(name)
	return name != "" && len(name) <= 256 && strings.Trim(name, letters) == "" && name[0] != '.' && name[len(name)-1] != '.' &&
		!strings.Contains(name, "..") && !strings.HasPrefix(lower, "aws.") && !strings.HasPrefix(lower, "amazon.")
}
