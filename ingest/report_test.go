package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flavorless/flavorless/events"
)

// bombRows is the number of rows of bomb. Without a limit, its report has about 100 MB.
const bombRows = 300_000

// bomb returns a gzip file of about 1 KB in which every row is rejected.
func bomb(t *testing.T) *bench {
	t.Helper()
	b := newBench("a.csv.gz", pack(t, "person,flavor\n"+strings.Repeat("x,\n", bombRows), ".gz"))
	if len(b.body) > 2000 {
		t.Fatalf("the file has %d bytes", len(b.body))
	}
	return b
}

// rowsOf reads a report: its rejects, and its end if it has one.
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

// checkReport compares the report with the number of rows that are bad, and with the maximum length of a report.
func (b *bench) checkReport(t *testing.T, bad int64) {
	t.Helper()
	rejects, end := rowsOf(t, b.report())
	if got := int64(len(rejects)) + end.Omitted; got != bad {
		t.Errorf("%d rows in the report and %d omitted make %d, want %d", len(rejects), end.Omitted, got, bad)
	}
	last := strings.LastIndexByte(strings.TrimSuffix(b.report(), "\n"), '\n') + 1
	limit := 4<<20 + 20*b.object.Size
	if got := int64(last); got > limit || got < limit-1000 {
		t.Errorf("the rows of the report have %d bytes, want %d or a little less", got, limit)
	}
	if !strings.Contains(end.Message, fmt.Sprint(end.Omitted)) || !strings.Contains(end.Message, fmt.Sprint(limit)) {
		t.Errorf("message = %q, want the numbers %d and %d in it", end.Message, end.Omitted, limit)
	}
	if diff := cmp.Diff(rejects[:events.MaxRejects], b.sealed.Rejects); diff != "" {
		t.Errorf("the first rejects (-report +ledger):\n%s", diff)
	}
	b.checkParts(t)
}

// checkParts checks that the report is the only object that is left.
func (b *bench) checkParts(t *testing.T) {
	t.Helper()
	for key := range b.stored {
		if !strings.HasSuffix(key, "/rejects.ndjson") {
			t.Errorf("%s is left", key)
		}
	}
}

// TestReportLimit reads a bomb at once and in pieces.
func TestReportLimit(t *testing.T) {
	whole, pieces := bomb(t), bomb(t)
	if spans := whole.run(t, nil); spans != 0 {
		t.Fatalf("%d spans without a reason to stop", spans)
	}
	if spans := pieces.run(t, func(context.Context) bool { return true }); spans < 20 {
		t.Fatalf("only %d spans", spans)
	}
	for _, b := range []*bench{whole, pieces} {
		b.checkReport(t, bombRows)
		if b.sealed.Rows != bombRows || b.sealed.Rejected != bombRows {
			t.Errorf("%d rows, %d rejected; want %d of both", b.sealed.Rows, b.sealed.Rejected, bombRows)
		}
	}
	if whole.peak >= 10e6 {
		t.Errorf("the reports bucket had %d bytes, want less than 10 MB", whole.peak)
	}
	if pieces.peak >= 12e6 { // each stop before the limit adds what was in no whole part yet
		t.Errorf("the reports bucket had %d bytes, want less than 12 MB", pieces.peak)
	}
	if whole.report() != pieces.report() {
		t.Error("the reports differ")
	}
	if diff := cmp.Diff(whole.sealed, pieces.sealed, cmpopts.IgnoreFields(events.ReadSummary{}, "At")); diff != "" {
		t.Errorf("reading (-whole +pieces):\n%s", diff)
	}
}

// TestReportLimitOfSize reads the same rows as an object that is stored with more bytes.
func TestReportLimitOfSize(t *testing.T) {
	b := bomb(t)
	b.object.Size = 1 << 20
	b.run(t, nil)
	b.checkReport(t, bombRows)
}

// TestReportLimitOfAborted counts every row as rejected, but lists only bad ones.
func TestReportLimitOfAborted(t *testing.T) {
	const bad = 30_000
	text := "person,flavor\nandy,mint\n" + strings.Repeat("x,\n", bad)
	b := newBench("a.csv.gz", pack(t, text, ".gz"))
	b.metadata = map[string]string{"on-error": "abort"}
	b.run(t, nil)
	b.checkReport(t, bad)
	if b.sealed.Rejected != bad+1 || b.sealed.Failure == nil || b.sealed.Failure.Code != events.Aborted {
		t.Errorf("%d rejected, failure %+v; want %d, %s", b.sealed.Rejected, b.sealed.Failure, bad+1, events.Aborted)
	}
}

// TestShortReportHasNoEnd: a report within its limit has rejects alone.
func TestShortReportHasNoEnd(t *testing.T) {
	b := newBench("a.csv", []byte("person,flavor\nx,\n"))
	b.run(t, nil)
	if rejects, end := rowsOf(t, b.report()); len(rejects) != 1 || end != (events.ReportEnd{}) {
		t.Errorf("%d rejects, end %+v; want one reject and no end", len(rejects), end)
	}
	b.checkParts(t)
}

// TestReportAfterCrashes repeats the event of a bomb after the reader died at the end: before the ledger knew of it, and before
// the parts were removed.
func TestReportAfterCrashes(t *testing.T) {
	crash := errors.New("crash")
	for name, b := range map[string]*bench{"before sealing": bomb(t), "before removing": bomb(t)} {
		t.Run(name, func(t *testing.T) {
			if b.sealFails = crash; name == "before removing" {
				b.sealFails, b.removeFails = nil, crash
			}
			in := b.ingester(nil)
			if err := in.Ingest(t.Context(), b.object); !errors.Is(err, crash) {
				t.Fatalf("error = %v, want %v", err, crash)
			}
			if len(b.stored) < 3 {
				t.Fatalf("%d objects, want a report and its parts", len(b.stored))
			}
			report := b.report()
			for range 2 {
				if err := in.Ingest(t.Context(), b.object); err != nil {
					t.Fatal(err)
				}
				if b.report() != report {
					t.Errorf("the report has %d bytes now, before %d", len(b.report()), len(report))
				}
				b.checkReport(t, bombRows)
			}
		})
	}
}

// TestReportWithoutParts resumes a reading whose parts another delivery has removed after it sealed the upload: that fails, and
// the report stays as it is.
func TestReportWithoutParts(t *testing.T) {
	b := bomb(t)
	if err := b.ingester(func(context.Context) bool { return true }).Ingest(t.Context(), b.object); err != nil {
		t.Fatal(err)
	}
	span := b.spans[0]
	b.run(t, nil)
	report := b.report()
	sealed := b.sealed
	b.sealed = events.ReadSummary{} // as the ledger was when this delivery began
	if err := b.ingester(nil).Resume(t.Context(), span); err == nil || !b.sealed.At.IsZero() {
		t.Errorf("error = %v, sealed %+v; want an error", err, b.sealed)
	}
	if b.report() != report {
		t.Errorf("the report has %d bytes now, before %d", len(b.report()), len(report))
	}
	b.sealed = sealed
	if err := b.ingester(nil).Resume(t.Context(), span); err != nil {
		t.Fatal(err)
	}
	b.checkReport(t, bombRows)
}

// TestReportOfEarlierRelease resumes a message of a release whose reports had no limit: what its report had stays, and the rows
// from there on are omitted.
func TestReportOfEarlierRelease(t *testing.T) {
	const before, part = 15_000, 2 << 20
	line := []byte(`{"line":2,"column":3,"offset":14,"code":"missing_flavor","reason":"` + strings.Repeat("x", 400) + `","raw":"x,"}` + "\n")
	old := strings.Repeat(string(line), before)
	b := bomb(t)
	prefix := b.object.UploadID() + "/rejects/"
	for end := part; end <= len(old); end += part {
		b.stored[fmt.Sprintf("%s%d.part", prefix, end)] = old[end-part : end]
	}
	b.stored[fmt.Sprintf("%s%d.part", prefix, len(old))] = old[len(old)-len(old)%part:]
	m, err := events.Continuation{Object: b.object, Offset: int64(len("person,flavor\n")) + 3*before, Rows: before, Rejected: before, RejectsBytes: int64(len(old))}.Message()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(m.Body), "rejectsOmitted") {
		t.Fatalf("the message is not one of an earlier release: %s", m.Body)
	}
	span, err := events.DecodeContinuation(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ingester(nil).Resume(t.Context(), span); err != nil {
		t.Fatal(err)
	}
	rejects, end := rowsOf(t, b.report())
	if !strings.HasPrefix(b.report(), old) || len(rejects) != before || end.Omitted != bombRows-before || b.sealed.Rejected != bombRows {
		t.Errorf("%d rows in the report, %d omitted, %d rejected; want %d, %d, %d", len(rejects), end.Omitted, b.sealed.Rejected, before, bombRows-before, bombRows)
	}
	b.checkParts(t)
}
