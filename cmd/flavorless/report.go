package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/flavorless/flavorless/events"
)

// report prints what became of an upload.
func (t *terminal) report(u events.Upload) {
	status := string(u.Status)
	switch u.Status {
	case events.Live:
		status = t.style(green, liveAfter(u))
	case events.Failed:
		status = t.style(red, "failed")
	}
	t.printf("%s  %s\n", t.style(bold, t.heading(shown(u.Key), 24)), status)
	c := u.Counts
	if u.Published.IsZero() {
		t.printf("  being read; %d rows applied so far\n", c.Applied)
	} else {
		t.printf("  %s: %d applied, %d superseded, %d rejected\n", count(c.Rows, "row"), c.Applied, c.Superseded, c.Rejected)
	}
	if u.Status == events.Live && c.Rows == 0 {
		t.printf("  %s: %s\n", t.style(yellow, "warning"), noRows)
	}
	if f := u.Failure; f != nil {
		place := ""
		if f.Line > 0 {
			place = fmt.Sprintf("line %d, column %d: ", f.Line, f.Column)
		}
		t.printf("  %s%s: %s\n", place, t.style(red, string(f.Code)), visible(f.Reason))
	}
	t.rejects(u.Rejects)
	if more := c.Rejected - int64(len(u.Rejects)); more > 0 && len(u.Rejects) > 0 {
		t.printf("  … and %d more, which this shows: flavorless uploads %s --rejects\n", more, u.ID)
	}
	if u.RejectsAt != "" {
		t.printf("  %s\n", t.style(dim, "report of rejected rows: "+u.RejectsAt))
	}
	t.printf("  %s\n", t.style(dim, "upload "+u.ID))
}

// brief prints a live upload without rejected rows on one line.
func (t *terminal) brief(u events.Upload) {
	c := u.Counts
	live := liveAfter(u)
	rows := fmt.Sprintf("%s: %d applied, %d superseded", count(c.Rows, "row"), c.Applied, c.Superseded)
	t.printf("%s  %s  %s\n", t.style(bold, t.heading(shown(u.Key), len(live)+len(rows)+2*gap)), t.style(green, live), rows)
}

func liveAfter(u events.Upload) string {
	return fmt.Sprintf("live after %s", u.Settled.Sub(u.Uploaded).Round(time.Millisecond))
}

// tally adds up what became of several files.
type tally struct {
	files, sent, live int
	partly            int // live with rejected rows
	failed            int // or not uploaded
	pending           int // uploaded, but not live in time
	counts            events.Counts
	code              int // of the program's end
}

// add counts a file with its record, which is empty if the file is not followed, and its error.
func (s *tally) add(u events.Upload, err error) {
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
	case exitCode(u) == exitOK:
		s.live++
	case exitCode(u) == exitRejected:
		s.partly++
	default:
		s.failed++
	}
	s.code = worse(s.code, exitCode(u))
	s.counts.Rows += u.Counts.Rows
	s.counts.Applied += u.Counts.Applied
	s.counts.Superseded += u.Counts.Superseded
	s.counts.Rejected += u.Counts.Rejected
}

func (s *tally) String() string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{
		{s.sent, "uploaded"}, {s.live, "live"}, {s.partly, "live with rejected rows"}, {s.failed, "failed"},
		{s.pending, "not live in time"},
		{s.files - s.sent - s.live - s.partly - s.failed - s.pending, "not done"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	text := fmt.Sprintf("%s: %s", count(int64(s.files), "file"), strings.Join(parts, ", "))
	if c := s.counts; s.sent == 0 {
		text += fmt.Sprintf("; %s: %d applied, %d superseded, %d rejected", count(c.Rows, "row"), c.Applied, c.Superseded, c.Rejected)
	}
	return text
}

// rejects prints rejected rows, each with the way to fix it.
func (t *terminal) rejects(rejects []events.Reject) {
	if len(rejects) == 0 {
		return
	}
	rows := make([][]string, 0, len(rejects))
	for _, r := range rejects {
		rows = append(rows, []string{strconv.FormatInt(r.Line, 10), strconv.FormatInt(r.Column, 10), visible(string(r.Code)), visible(r.Raw), visible(r.Reason)})
	}
	t.table("  ", []column{
		{name: "LINE"}, {name: "COLUMN"}, {name: "CODE", min: 10}, {name: "ROW", min: 6},
		{name: "WHY, AND HOW TO FIX IT", min: 12, wrap: true},
	}, rows)
}

// change tells on one line what changed.
func (t *terminal) change(c events.Change) string {
	person, flavor, previous := visible(c.Person), visible(c.Flavor), visible(c.Previous)
	switch c.Kind {
	case events.Created:
		return fmt.Sprintf("%s  %s: %s", t.style(green, "created"), person, flavor)
	case events.Changed:
		return fmt.Sprintf("%s  %s: %s, no longer %s", t.style(yellow, "changed"), person, flavor, previous)
	default:
		return fmt.Sprintf("%s  %s, whose favorite was %s", t.style(red, "removed"), person, previous)
	}
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// exitCode is what a settled upload ends the program with.
func exitCode(u events.Upload) int {
	switch {
	case u.Status == events.Failed:
		return exitFailed
	case u.Counts.Rejected > 0:
		return exitRejected
	}
	return exitOK
}

// worse tells which of two exit codes weighs more: failed before rejected before fine.
func worse(a, b int) int {
	if a == exitFailed || b == exitFailed {
		return exitFailed
	}
	return max(a, b)
}
