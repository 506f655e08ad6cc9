package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// rejectLog collects the rejected rows of an upload: the first ones for the ledger, and as many as its allowance
// permits for the report in the reports bucket, <upload>/rejects.ndjson. Without rejected rows, no object is stored.
//
// The report is stored only after the file has been read to its end: a repeated reading that stops earlier must not
// replace a longer report. Until then, its lines are stored in parts, which end after every reportPart bytes and where
// reading pauses, and which are named after their end. Repeated readings therefore store the same bytes under the same
// key.
//
// The first row that exceeds the allowance ends the report. Later rows are not written even if they would fit, so the
// report does not depend on where reading pauses. Its last line, an [events.ReportEnd], states the number of omitted
// rows.
type rejectLog struct {
	reports reports
	upload  string
	first   []events.Reject
	tail    []byte // the end of the report that is in no complete part
	bytes   int64  // length of the report
	paused  int64  // length of the report when the earlier reading paused; 0 if there was none

	allowance int64 // maximum length of the report, in bytes
	omitted   int64 // rejected rows that are not in the report
}

// The maximum length of a report is reportBytes + reportFactor × the stored size of the object, in bytes, plus a last
// line. Without a limit, a compressed file of 1 KB could cause a report of 100 MB.
const (
	reportBytes  = 4 << 20
	reportFactor = 20
)

func allowance(size int64) int64 {
	return reportBytes + reportFactor*min(max(size, 0), (math.MaxInt64-reportBytes)/reportFactor)
}

// reportPart is the size of a complete part, in bytes. It bounds the memory for a report. The first part always has the
// first MaxRejects rows.
const reportPart = 2 << 20

// openRejectLog continues the report of an earlier reading, or begins a new one if from.RejectsBytes is 0.
func openRejectLog(ctx context.Context, r reports, from events.Continuation) (*rejectLog, error) {
	before := from.RejectsBytes
	l := &rejectLog{
		reports: r, upload: from.Object.UploadID(), bytes: before, paused: before,
		allowance: allowance(from.Object.Size), omitted: from.RejectsOmitted,
	}
	var err error
	if length := before % reportPart; length > 0 {
		if l.tail, err = l.load(ctx, before, length); err != nil {
			return nil, err
		}
	}
	head := l.tail
	if before >= reportPart {
		if head, err = l.load(ctx, reportPart, reportPart); err != nil {
			return nil, err
		}
	}
	in := jsontext.NewDecoder(bytes.NewReader(head))
	for len(l.first) < events.MaxRejects && in.PeekKind() == jsontext.KindBeginObject {
		var reject events.Reject
		if err := json.UnmarshalDecode(in, &reject); err != nil {
			return nil, fmt.Errorf("decoding the report of upload %s: %w", l.upload, err)
		}
		l.first = append(l.first, reject)
	}
	return l, nil
}

// IsReport reports whether the object with a key in the reports bucket is a report of rejected rows, or a part of one.
// The others, which are sorted copies and what belongs to them, are needed while messages of any upload are queued.
func IsReport(key string) bool {
	_, name, _ := strings.Cut(key, "/")
	return strings.HasPrefix(name, "rejects")
}

// partsPrefix returns the prefix of the keys of an upload's parts.
func partsPrefix(upload string) string { return upload + "/rejects/" }

// partKey returns the key of the part that ends at this length of the report. On AWS, the role of ingest may delete
// only objects with keys of this form (resources/iam.yml).
func (l *rejectLog) partKey(end int64) string {
	return partsPrefix(l.upload) + strconv.FormatInt(end, 10) + ".part"
}

func (l *rejectLog) load(ctx context.Context, end, length int64) ([]byte, error) {
	part := make([]byte, length)
	body, err := l.reports.Get(ctx, l.partKey(end))
	if err == nil {
		defer body.Close()
		_, err = io.ReadFull(body, part)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a part of the report of upload %s: %w", l.upload, err)
	}
	return part, nil
}

func (l *rejectLog) store(ctx context.Context, end int64, part []byte) error {
	if _, err := l.reports.Put(ctx, l.partKey(end), bytes.NewReader(part)); err != nil {
		return fmt.Errorf("storing a part of the report of upload %s: %w", l.upload, err)
	}
	return nil
}

func (l *rejectLog) add(ctx context.Context, r *events.Reject) error {
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
	if len(l.tail) < reportPart { // a line is much shorter than a part
		return nil
	}
	rest := len(l.tail) - reportPart
	if err := l.store(ctx, l.bytes-int64(rest), l.tail[:reportPart]); err != nil {
		return err
	}
	l.tail = l.tail[:copy(l.tail, l.tail[reportPart:])]
	return nil
}

// pause stores the tail as a part, for a later reading.
func (l *rejectLog) pause(ctx context.Context) error {
	if len(l.tail) == 0 || l.bytes == l.paused { // if they are equal, the earlier reading has stored the tail
		return nil
	}
	return l.store(ctx, l.bytes, l.tail)
}

// close stores the report and returns its location. The parts remain until the upload is sealed, because a repeated
// reading needs them. See [Ingester.removeParts].
func (l *rejectLog) close(ctx context.Context) (location string, err error) {
	if l.bytes == 0 {
		return "", nil
	}
	body := io.MultiReader(l.wholeParts(ctx), bytes.NewReader(l.tail), strings.NewReader(l.end()))
	location, err = l.reports.Put(ctx, l.upload+"/rejects.ndjson", body)
	if err != nil {
		return "", fmt.Errorf("storing the report of upload %s: %w", l.upload, err)
	}
	return location, nil
}

// end returns the last line of a report that omits rows, and "" for a complete report.
func (l *rejectLog) end() string {
	if l.omitted == 0 {
		return ""
	}
	line, _ := json.Marshal(events.ReportEnd{Truncated: true, Omitted: l.omitted, Message: fmt.Sprintf(
		"the report has reached its maximum length of %d bytes; it omits further rejected rows: %d; "+
			"fix the rows above and upload the file again", l.allowance, l.omitted)})
	return string(line) + "\n"
}

// wholeParts returns a reader of the report's complete parts.
func (l *rejectLog) wholeParts(ctx context.Context) io.Reader {
	end, part := int64(reportPart), []byte(nil)
	return readerFunc(func(p []byte) (int, error) {
		if len(part) == 0 {
			if end > l.bytes {
				return 0, io.EOF
			}
			var err error
			if part, err = l.load(ctx, end, reportPart); err != nil {
				return 0, err
			}
			end += reportPart
		}
		n := copy(p, part)
		part = part[n:]
		return n, nil
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
