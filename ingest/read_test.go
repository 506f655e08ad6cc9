package ingest_test

import (
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// outcome is the result of reading a file.
type outcome struct {
	Rows    []events.Update
	Rejects []events.Reject
	Failure *events.Failure
}

var withoutReasons = cmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(events.Reject{}, "Reason", "Raw"),
	cmpopts.IgnoreFields(events.Failure{}, "Reason"),
}

// reporter is a *testing.T or a *rapid.T.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// readAll reads a file, and checks what must be true for every file.
func readAll(t reporter, body io.Reader, name string) outcome {
	t.Helper()
	got, err := tryRead(t, body, name, ingest.Options{})
	if err != nil {
		t.Fatalf("Read(%s): %v", name, err)
	}
	return got
}

func tryRead(t reporter, body io.Reader, name string, o ingest.Options) (outcome, error) {
	t.Helper()
	var got outcome
	last := int64(-1)
	forward := func(offset int64) {
		if offset <= last {
			t.Errorf("%s: offset = %d, want more than %d", name, offset, last)
		}
		last = offset
	}
	summary, err := ingest.Read(body, name, o, func(u events.Update) error {
		forward(u.Offset)
		got.Rows = append(got.Rows, u)
		return nil
	}, func(r *events.Reject) error {
		forward(r.Offset)
		if r.Code == "" || r.Reason == "" || len(r.Raw) > events.MaxRaw || r.Line < 1 || r.Column < 1 {
			t.Errorf("%s: reject = %+v, want a code, a reason, a position and at most %d bytes", name, r, events.MaxRaw)
		}
		printable(t, r.Reason)
		got.Rejects = append(got.Rejects, *r)
		return nil
	})
	if got.Failure = summary.Failure; got.Failure != nil {
		printable(t, got.Failure.Reason)
	}
	if a, r := len(got.Rows), len(got.Rejects); summary.Rows != int64(a+r) || summary.Rejected != int64(r) {
		t.Errorf("%s: got %d rows, %d rejected, want %d, %d", name, summary.Rows, summary.Rejected, a+r, r)
	}
	return got, err
}

// printable checks that a reason is a line of printable text, whatever part of the file it quotes.
func printable(t reporter, reason string) {
	t.Helper()
	if !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("reason = %+q, want printable characters", reason)
	}
}

// readCase is a file and the outcome of reading it, without reasons.
type readCase struct {
	name, content string
	want          outcome
}

func runCases(t *testing.T, file string, cases []readCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := readAll(t, strings.NewReader(c.content), file)
			if diff := cmp.Diff(c.want, got, withoutReasons); diff != "" {
				t.Errorf("reading %q (-want +got):\n%s", c.content, diff)
			}
		})
	}
}

// The following functions keep the tables short. Positions are line, column and offset.

func rows(u ...events.Update) outcome { return outcome{Rows: u} }

func (o outcome) reject(line, column, offset int64, code events.Code) outcome {
	o.Rejects = append(o.Rejects, events.Reject{Line: line, Column: column, Offset: offset, Code: code})
	return o
}

func (o outcome) fail(line, column, offset int64, code events.Code) outcome {
	o.Failure = &events.Failure{Code: code, Line: line, Column: column, Offset: offset}
	return o
}

func set(offset int64, person, flavor string) events.Update {
	return events.Update{Offset: offset, Person: person, Flavor: flavor}
}

func remove(offset int64, person string) events.Update {
	return events.Update{Offset: offset, Person: person, Remove: true}
}
