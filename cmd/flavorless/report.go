package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/flavorless/flavorless/events"
)

// report prints the record of an upload that was read from conn.
func (t *terminal) report(u events.Upload, conn *connection) {
	status := string(u.Status)
	switch u.Status {
	case events.Live:
		status = t.style(green, liveAfter(u))
	case events.Failed:
		status = t.style(red, "failed")
	}
	t.printf("%s  %s\n", t.style(bold, t.heading(displayName(u.Key), 24)), status)
	c := u.Counts
	if u.Published.IsZero() {
		t.printf("  still being read; %s applied so far\n", count(c.Applied, "row"))
	} else {
		t.printf("  %s\n", rowCounts(c))
	}
	if u.Status == events.Live && c.Rows == 0 {
		t.printf("  %s: %s\n", t.style(yellow, "warning"), emptyFileWarning)
	}
	t.failure(u.Failure)
	t.rejects(u.Rejects)
	if more := c.Rejected - int64(len(u.Rejects)); more > 0 && len(u.Rejects) == events.MaxRejects {
		text := fmt.Sprintf("… and %s more; to see them", number(more))
		if u.Failure != nil { // with on-error=abort, the count includes the good rows
			text = fmt.Sprintf("… these are the first %d; to see all", events.MaxRejects)
		}
		t.printf("  %s: flavorless uploads %s --rejects%s\n", text, u.ID, conn.flags)
	}
	if u.RejectsAt != "" {
		t.printf("  %s\n", t.style(dim, "report of rejected rows: "+u.RejectsAt))
	}
	t.printf("  %s\n", t.style(dim, "upload "+u.ID))
}

// failure prints why a file can't be read to its end. It prints nothing if f is nil.
func (t *terminal) failure(f *events.Failure) {
	if f == nil {
		return
	}
	position := ""
	if f.Line > 0 {
		position = fmt.Sprintf("line %d, column %d: ", f.Line, f.Column)
	}
	t.printf("  %s%s: %s\n", position, t.style(red, string(f.Code)), printable(f.Reason))
}

// brief prints a live upload without rejected rows on one line.
func (t *terminal) brief(u events.Upload) {
	c := u.Counts
	live := liveAfter(u)
	rows := fmt.Sprintf("%s: %s applied, %s unchanged, %s superseded",
		count(c.Rows, "row"), number(c.Applied), number(c.Unchanged), number(c.Superseded))
	t.printf("%s  %s  %s\n",
		t.style(bold, t.heading(displayName(u.Key), len(live)+len(rows)+2*gap)), t.style(green, live), rows)
}

func liveAfter(u events.Upload) string {
	return fmt.Sprintf("live after %s", u.Settled.Sub(u.Uploaded).Round(time.Millisecond))
}

// uploadSummary is the total of several files.
type uploadSummary struct {
	files   int // all files
	sent    int // uploaded, but not followed
	live    int // live with every row
	partly  int // live with rejected rows
	failed  int // failed or not uploaded
	pending int // uploaded, but not followed until they are live
	counts  events.Counts
	code    int // exit code
}

// add counts a file with its record, which is empty if the file was not followed, or its error.
func (s *uploadSummary) add(u events.Upload, err error) {
	switch {
	case err != nil:
		var one *fileError
		if errors.As(err, &one) && one.pending {
			s.pending++
		} else {
			s.failed++
		}
		s.code = exitFailed
		return
	case u.ID == "":
		s.sent++
		return
	case uploadExitCode(u) == exitOK:
		s.live++
	case uploadExitCode(u) == exitRejected:
		s.partly++
	default:
		s.failed++
	}
	s.code = worse(s.code, uploadExitCode(u))
	s.counts.Rows += u.Counts.Rows
	s.counts.Applied += u.Counts.Applied
	s.counts.Unchanged += u.Counts.Unchanged
	s.counts.Superseded += u.Counts.Superseded
	s.counts.Rejected += u.Counts.Rejected
}

func (s *uploadSummary) String() string {
	var parts []string
	for _, part := range []struct {
		n      int
		status string
	}{
		{s.sent, "uploaded"}, {s.live, "live"}, {s.partly, "live with rejected rows"}, {s.failed, "failed"},
		{s.pending, "not live yet"},
		{s.files - s.sent - s.live - s.partly - s.failed - s.pending, "not done"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.status))
		}
	}
	text := fmt.Sprintf("%s: %s", count(int64(s.files), "file"), strings.Join(parts, ", "))
	if s.sent == 0 {
		text += "; " + rowCounts(s.counts)
	}
	return text
}

func rowCounts(c events.Counts) string {
	return fmt.Sprintf("%s: %s applied, %s unchanged, %s superseded, %s rejected",
		count(c.Rows, "row"), number(c.Applied), number(c.Unchanged), number(c.Superseded), number(c.Rejected))
}

// rejects prints a table of rejected rows.
func (t *terminal) rejects(rejects []events.Reject) {
	if len(rejects) == 0 {
		return
	}
	rows := make([][]string, 0, len(rejects))
	for _, r := range rejects {
		rows = append(rows, []string{
			strconv.FormatInt(r.Line, 10), strconv.FormatInt(r.Column, 10), printable(string(r.Code)), printable(r.Raw),
			printable(r.Reason),
		})
	}
	t.table("  ", []column{
		{name: "LINE"}, {name: "COLUMN"}, {name: "CODE", minWidth: 10}, {name: "ROW", minWidth: 6},
		{name: "REASON AND FIX", minWidth: 12, wrap: true},
	}, rows)
}

// change returns a change in one line.
func (t *terminal) change(c events.Change) string {
	person, flavor, previous := printable(c.Person), printable(c.Flavor), printable(c.Previous)
	switch c.Kind {
	case events.Created:
		return fmt.Sprintf("%s  %s: %s", t.style(green, "created"), person, flavor)
	case events.Changed:
		return fmt.Sprintf("%s  %s: %s, no longer %s", t.style(yellow, "changed"), person, flavor, previous)
	default:
		return fmt.Sprintf("%s  %s, whose favorite was %s", t.style(red, "removed"), person, previous)
	}
}

// number returns a number with separators, such as "1,000,000".
func number(n int64) string { return humanize.Comma(n) }

// count returns a number with a noun in singular or plural, such as "2,000 rows".
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

// uploadExitCode returns the exit code for a settled upload.
func uploadExitCode(u events.Upload) int {
	switch {
	case u.Status == events.Failed:
		return exitFailed
	case u.Counts.Rejected > 0:
		return exitRejected
	}
	return exitOK
}

// worse returns the worse of two exit codes; exitFailed is worse than exitRejected.
func worse(a, b int) int {
	if a == exitFailed || b == exitFailed {
		return exitFailed
	}
	return max(a, b)
}
