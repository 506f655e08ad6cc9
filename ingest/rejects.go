package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// rejectLog keeps the first rejected rows for the ledger, and as many as the allowance permits for the report in the reports
// bucket, <upload>/rejects.ndjson. A file without rejects leaves no object there.
//
// The report is stored once the file has been read to its end, and never before: a repeated reading that stops earlier must
// not replace a report that is longer than its own. Until then the lines are kept in parts, cut after every reportPart
// bytes and where reading stops, and named by where they end. So whoever stores a part stores the same, however often and
// wherever the readings stopped.
//
// The first row that exceeds the allowance ends the report: neither that row nor any later one is written, however short.
// The report therefore holds the same rows wherever the readings stopped. The rows left out are counted, and the report's last
// line, an [events.ReportEnd], states their number.
type rejectLog struct {
	ctx     context.Context //nolint:containedctx // of the one reading that it belongs to
	reports reports
	upload  string
	first   []events.Reject
	tail    []byte // of the report: what is in no whole part yet
	bytes   int64  // length of the report
	paused  int64  // length of the report when the earlier reading stopped

	allowance int64 // maximum of bytes
	omitted   int64 // rejected rows that are not in the report
}

// The report of an upload has at most reportBytes + reportFactor × the object's stored size, in bytes, and one more line that
// states how many rows were left out. Without a limit, a compressed file of 1 KB could make a report of 100 MB.
const (
	reportBytes  = 4 << 20
	reportFactor = 20
)

func allowance(size int64) int64 {
	return reportBytes + reportFactor*min(max(size, 0), (math.MaxInt64-reportBytes)/reportFactor)
}

// reportPart bounds the memory of a report, in bytes. The first MaxRejects rows are always within it.
const reportPart = 2 << 20

// openRejectLog continues the report where an earlier reading of the file stopped, or begins a new one if from.RejectsBytes
// is 0.
func openRejectLog(ctx context.Context, r reports, from events.Continuation) (*rejectLog, error) {
	before := from.RejectsBytes
	l := &rejectLog{
		ctx: ctx, reports: r, upload: from.Object.UploadID(), bytes: before, paused: before,
		allowance: allowance(from.Object.Size), omitted: from.RejectsOmitted,
	}
	var err error
	if length := before % reportPart; length > 0 {
		if l.tail, err = l.load(before, length); err != nil {
			return nil, err
		}
	}
	head := l.tail
	if before >= reportPart {
		if head, err = l.load(reportPart, reportPart); err != nil {
			return nil, err
		}
	}
	in := jsontext.NewDecoder(bytes.NewReader(head))
	for len(l.first) < events.MaxRejects && in.PeekKind() == jsontext.KindBeginObject {
		var reject events.Reject
		if err := json.UnmarshalDecode(in, &reject); err != nil {
			return nil, fmt.Errorf("reading the rejected rows so far: %w", err)
		}
		l.first = append(l.first, reject)
	}
	return l, nil
}

// partsOf returns the prefix of the keys of an upload's parts.
func partsOf(upload string) string { return upload + "/rejects/" }

// partKey names the part of the report that ends so many bytes behind its beginning. On AWS, the role of ingest may delete
// only objects with keys of this form (resources/iam.yml).
func (l *rejectLog) partKey(end int64) string {
	return partsOf(l.upload) + strconv.FormatInt(end, 10) + ".part"
}

func (l *rejectLog) load(end, length int64) ([]byte, error) {
	body, err := l.reports.Get(l.ctx, l.partKey(end))
	if err != nil {
		return nil, fmt.Errorf("reading the rejected rows so far: %w", err)
	}
	defer body.Close()
	part := make([]byte, length)
	if _, err := io.ReadFull(body, part); err != nil {
		return nil, fmt.Errorf("reading the rejected rows so far: %w", err)
	}
	return part, nil
}

func (l *rejectLog) store(end int64, part []byte) error {
	if _, err := l.reports.Put(l.ctx, l.partKey(end), bytes.NewReader(part)); err != nil {
		return fmt.Errorf("storing rejected rows: %w", err)
	}
	return nil
}

func (l *rejectLog) add(r *events.Reject) error {
	if l.omitted > 0 {
		l.omitted++
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding a rejected row: %w", err)
	}
	if l.bytes+int64(len(line))+1 > l.allowance {
		l.omitted++
		return nil
	}
	if len(l.first) < events.MaxRejects {
		l.first = append(l.first, *r)
	}
	l.tail = append(append(l.tail, line...), '\n')
	l.bytes += int64(len(line)) + 1
	if len(l.tail) < reportPart { // a line is far shorter
		return nil
	}
	rest := len(l.tail) - reportPart
	if err := l.store(l.bytes-int64(rest), l.tail[:reportPart]); err != nil {
		return err
	}
	l.tail = l.tail[:copy(l.tail, l.tail[reportPart:])]
	return nil
}

// pause stores what there is, for a reading that goes on later. The report is then bytes long.
func (l *rejectLog) pause() error {
	if len(l.tail) == 0 || l.bytes == l.paused { // in the latter case, the earlier reading has stored the tail
		return nil
	}
	return l.store(l.bytes, l.tail)
}

// close stores the report and returns its location. The parts stay until the ledger knows the end of the upload: a repeated
// reading needs them until then. See [Ingester.removeParts].
func (l *rejectLog) close() (location string, err error) {
	if l.bytes == 0 {
		return "", nil
	}
	end, err := l.end()
	if err != nil {
		return "", err
	}
	body := io.MultiReader(&wholeParts{log: l, end: reportPart}, bytes.NewReader(l.tail), bytes.NewReader(end))
	location, err = l.reports.Put(l.ctx, l.upload+"/rejects.ndjson", body)
	if err != nil {
		return "", fmt.Errorf("storing the rejected rows: %w", err)
	}
	return location, nil
}

// end returns the last line of a report that leaves out rows, and nothing for a complete one.
func (l *rejectLog) end() ([]byte, error) {
	if l.omitted == 0 {
		return nil, nil
	}
	line, err := json.Marshal(events.ReportEnd{Truncated: true, Omitted: l.omitted, Message: fmt.Sprintf(
		"this report has reached its maximum length of %d bytes; number of rejected rows that it leaves out: %d; fix the rows above and upload the file again",
		l.allowance, l.omitted)})
	if err != nil {
		return nil, fmt.Errorf("encoding the end of the report: %w", err)
	}
	return append(line, '\n'), nil
}

// wholeParts reads the report's parts of full length, one after the other.
type wholeParts struct {
	log  *rejectLog
	end  int64 // of the next part
	part []byte
}

func (w *wholeParts) Read(p []byte) (int, error) {
	if len(w.part) == 0 {
		if w.end > w.log.bytes {
			return 0, io.EOF
		}
		var err error
		if w.part, err = w.log.load(w.end, reportPart); err != nil {
			return 0, err
		}
		w.end += reportPart
	}
	n := copy(p, w.part)
	w.part = w.part[n:]
	return n, nil
}
