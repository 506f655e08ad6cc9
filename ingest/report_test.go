package ingest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// bombRows is the number of rows of bomb. Without a limit, its report would have about 100 MB.
const bombRows = 300_000

// bomb returns a gzip file of about 1 KB in which every row is rejected.
func bomb(t *testing.T) *fakePorts {
	t.Helper()
	b := newFakePorts("a.csv.gz", compress(t, ".gz", []byte("person,flavor\n"+strings.Repeat("x,\n", bombRows))))
	if len(b.body) > 2000 {
		t.Fatalf("the file has %d bytes, want at most 2000", len(b.body))
	}
	return b
}

// rowsOf decodes a report: its rejects, and its end if it has one.
func rowsOf(t *testing.T, report string) (rejects []events.Reject, end events.ReportEnd) {
	t.Helper()
	strict := json.RejectUnknownMembers(true)
	for line := range strings.Lines(report) {
		var r events.Reject
		err := json.Unmarshal([]byte(line), &r, strict)
		switch {
		case end.Truncated:
			t.Fatalf("a line follows the end of the report: %s", line)
		case err == nil && r.Line > 0:
			rejects = append(rejects, r)
		default:
			if err := json.Unmarshal([]byte(line), &end, strict); err != nil || !end.Truncated {
				t.Fatalf("a line is neither a reject nor the end: %s", line)
			}
		}
	}
	return rejects, end
}

// checkReport checks the length of the report, and that its rejects and omitted rows add up to the number of bad rows.
func (b *fakePorts) checkReport(t *testing.T, bad int64) {
	t.Helper()
	rejects, end := rowsOf(t, b.report())
	if got := int64(len(rejects)) + end.Omitted; got != bad {
		t.Errorf("%d rows in the report and %d omitted make %d, want %d", len(rejects), end.Omitted, got, bad)
	}
	last := strings.LastIndexByte(strings.TrimSuffix(b.report(), "\n"), '\n') + 1
	limit := 4<<20 + 20*b.object.Size
	if got := int64(last); got > limit || got < limit-1000 {
		t.Errorf("the rows of the report have %d bytes, want at most %d, and almost as many", got, limit)
	}
	if !strings.Contains(end.Message, fmt.Sprint(end.Omitted)) || !strings.Contains(end.Message, fmt.Sprint(limit)) {
		t.Errorf("message = %q, want it to state %d and %d", end.Message, end.Omitted, limit)
	}
	if diff := cmp.Diff(rejects[:events.MaxRejects], b.sealed.Rejects); diff != "" {
		t.Errorf("first rejects (-report +ledger):\n%s", diff)
	}
	b.checkParts(t)
}

// checkParts checks that no parts of the report remain.
func (b *fakePorts) checkParts(t *testing.T) {
	t.Helper()
	for key := range b.stored {
		if !strings.HasSuffix(key, "/rejects.ndjson") {
			t.Errorf("part %s remains", key)
		}
	}
}

// TestReportLimit reads a bomb without and with pauses.
func TestReportLimit(t *testing.T) {
	testutil.SkipIfShort(t)
	testutil.SkipUnderRace(t)
	whole, pieces := bomb(t), bomb(t)
	whole.run(t, nil)
	if n := pieces.run(t, always); n < 20 {
		t.Fatalf("got %d continuations, want at least 20", n)
	}
	for _, b := range []*fakePorts{whole, pieces} {
		b.checkReport(t, bombRows)
		if b.sealed.Rows != bombRows || b.sealed.Rejected != bombRows {
			t.Errorf("got %d rows and %d rejected rows, want %d of both", b.sealed.Rows, b.sealed.Rejected, bombRows)
		}
	}
	if whole.peak >= 10e6 {
		t.Errorf("the reports bucket had %d bytes, want less than 10 MB", whole.peak)
	}
	if pieces.peak >= 12e6 { // each pause before the limit adds an incomplete part
		t.Errorf("the reports bucket had %d bytes, want less than 12 MB", pieces.peak)
	}
	pieces.compare(t, whole)
}

// TestReportLimitOfSize reads the same rows from a larger object, whose report may be longer.
func TestReportLimitOfSize(t *testing.T) {
	testutil.SkipIfShort(t)
	testutil.SkipUnderRace(t)
	b := bomb(t)
	b.object.Size = 1 << 20
	b.run(t, nil)
	b.checkReport(t, bombRows)
}

// TestReportLimitOfAborted checks that an aborted upload counts all rows as rejected, but its report has only the bad
// ones.
func TestReportLimitOfAborted(t *testing.T) {
	const bad = 30_000
	text := "person,flavor\nandy,mint\n" + strings.Repeat("x,\n", bad)
	b := newFakePorts("a.csv.gz", compress(t, ".gz", []byte(text)))
	b.metadata = map[string]string{"on-error": "abort"}
	b.run(t, nil)
	b.checkReport(t, bad)
	if b.sealed.Rejected != bad+1 || b.sealed.Failure == nil || b.sealed.Failure.Code != events.Aborted {
		t.Errorf("got %d rejected rows, failure %+v, want %d, %s", b.sealed.Rejected, b.sealed.Failure, bad+1, events.Aborted)
	}
}

// TestShortReportHasNoEnd checks that a complete report has only rejects.
func TestShortReportHasNoEnd(t *testing.T) {
	b := newFakePorts("a.csv", []byte("person,flavor\nx,\n"))
	b.run(t, nil)
	if rejects, end := rowsOf(t, b.report()); len(rejects) != 1 || end != (events.ReportEnd{}) {
		t.Errorf("got %d rejects and end %+v, want 1 reject and no end", len(rejects), end)
	}
	b.checkParts(t)
}

// TestReportAfterCrashes repeats an event after a crash at the end of the reading: before the upload was sealed, and
// before the parts were removed.
func TestReportAfterCrashes(t *testing.T) {
	testutil.SkipIfShort(t)
	crash := errors.New("crash")
	for name, b := range map[string]*fakePorts{"before sealing": bomb(t), "before removing": bomb(t)} {
		t.Run(name, func(t *testing.T) {
			if b.sealFails = crash; name == "before removing" {
				b.sealFails, b.removeFails = nil, crash
			}
			in := b.ingester(nil)
			if err := in.Ingest(t.Context(), b.object); !errors.Is(err, crash) {
				t.Fatalf("error = %v, want %v", err, crash)
			}
			if len(b.stored) < 3 {
				t.Fatalf("got %d stored objects, want a report and its parts", len(b.stored))
			}
			report := b.report()
			for range 2 {
				if err := in.Ingest(t.Context(), b.object); err != nil {
					t.Fatal(err)
				}
				if b.report() != report {
					t.Errorf("the report has %d bytes, want the same %d", len(b.report()), len(report))
				}
				b.checkReport(t, bombRows)
			}
		})
	}
}

// TestReportWithoutParts resumes a reading after another delivery has sealed the upload and removed the parts. It must
// fail and not change the report.
func TestReportWithoutParts(t *testing.T) {
	testutil.SkipIfShort(t)
	b := bomb(t)
	if err := b.ingester(always).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	next := b.continuations[0]
	b.run(t, nil)
	report := b.report()
	sealed := b.sealed
	b.sealed = events.ReadSummary{} // as when this delivery began
	if err := b.ingester(nil).Resume(t.Context(), next); err == nil || !b.sealed.At.IsZero() {
		t.Errorf("error = %v, sealed %+v, want an error and no summary", err, b.sealed)
	}
	if b.report() != report {
		t.Errorf("the report has %d bytes, want the same %d", len(b.report()), len(report))
	}
	b.sealed = sealed
	if err := b.ingester(nil).Resume(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	b.checkReport(t, bombRows)
}

// TestReportOfEarlierRelease resumes a continuation of an earlier release, whose report is longer than the current
// limit. The rows of that report remain, and later rows are omitted.
func TestReportOfEarlierRelease(t *testing.T) {
	const before, part = 15_000, 2 << 20
	line := []byte(`{"line":2,"column":3,"offset":14,"code":"missing_flavor","reason":"` + strings.Repeat("x", 400) +
		`","raw":"x,"}` + "\n")
	old := strings.Repeat(string(line), before)
	b := bomb(t)
	prefix := b.object.UploadID() + "/rejects/"
	for end := part; end <= len(old); end += part {
		b.stored[fmt.Sprintf("%s%d.part", prefix, end)] = old[end-part : end]
	}
	b.stored[fmt.Sprintf("%s%d.part", prefix, len(old))] = old[len(old)-len(old)%part:]
	m, err := events.Continuation{Object: b.object, Offset: int64(len("person,flavor\n")) + 3*before, Rows: before,
		Rejected: before, RejectsBytes: int64(len(old))}.Message()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(m.Body), "rejectsOmitted") {
		t.Fatalf("message = %s, want no rejectsOmitted", m.Body)
	}
	next, err := events.DecodeContinuation(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ingester(nil).Resume(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	rejects, end := rowsOf(t, b.report())
	if !strings.HasPrefix(b.report(), old) || len(rejects) != before || end.Omitted != bombRows-before ||
		b.sealed.Rejected != bombRows {
		t.Errorf("got %d rows in the report, %d omitted, %d rejected, want %d, %d, %d",
			len(rejects), end.Omitted, b.sealed.Rejected, before, bombRows-before, bombRows)
	}
	b.checkParts(t)
}
