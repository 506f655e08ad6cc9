package topics_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/topics"
)

// FuzzValidate checks that valid messages are those which the documentation of SNS allows, and that the others are
// permanent failures.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
func FuzzValidate(f *testing.F) {
	allowed := regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	reserved := regexp.MustCompile(`(?i)^(aws|amazon)\.`)
	for _, name := range []string{"person", "a.b", ".a", "a.", "a..b", "AWS.x", "amazon.x", "awsx", "é", "",
		strings.Repeat("x", 257)} {
		f.Add(name, "René 🍦", []byte("{}"))
	}
	f.Add("a", "", []byte("{}"))
	f.Add("a", "\xff", []byte("\xff"))
	f.Add("a", "\x85", []byte{})
	f.Fuzz(func(t *testing.T, name, value string, body []byte) {
		err := topics.Validate(events.Message{ID: "m", Subject: events.UpdatesType,
			Attributes: map[string]string{name: value}, Body: body})
		ok := allowed.MatchString(name) && !reserved.MatchString(name) && len(name) <= 256 &&
			value != "" && utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl) && len(body) > 0 &&
			utf8.Valid(body)
		if ok != (err == nil) && len(body)+len(value) < 200<<10 {
			t.Errorf("Validate(attribute %q = %q, body %q) = %v, want an error: %t", name, value, body, err, !ok)
		}
		if err != nil && !errors.Is(err, events.ErrPermanent) {
			t.Errorf("error %v, want events.ErrPermanent", err)
		}
	})
}
