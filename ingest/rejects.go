package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// rejectLog keeps the first rejected rows for the ledger, and all of them for the report in the reports bucket,
// <upload>/rejects.ndjson. A file without rejects leaves no object there.
//
// The report is stored once the file has been read to its end, and never before: a repeated reading that stops earlier must
// not replace a report that is longer than its own. Until then the lines are kept in parts, cut after every reportPart
// bytes and where reading stops, and named by where they end. So whoever stores a part stores the same, however often and
// wherever the readings stopped.
type rejectLog struct {
	ctx     context.Context //nolint:containedctx // of the one reading that it belongs to
	reports reports
	upload  string
	first   []events.Reject
	tail    []byte // of the report: what is in no whole part yet
	bytes   int64  // length of the report
}

// reportPart bounds the memory of a report, in bytes. The first MaxRejects rows are always within it.
const reportPart = 2 << 20

// openRejectLog goes on behind the first bytes of a report, at which an earlier reading of the file stopped; 0 begins a new
// one.
func openRejectLog(ctx context.Context, r reports, upload string, before int64) (*rejectLog, error) {
	l := &rejectLog{ctx: ctx, reports: r, upload: upload, bytes: before}
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

// partKey names the part of the report that ends so many bytes behind its beginning.
func (l *rejectLog) partKey(end int64) string {
	return l.upload + "/rejects/" + strconv.FormatInt(end, 10) + ".part"
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
	if len(l.first) < events.MaxRejects {
		l.first = append(l.first, *r)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding a rejected row: %w", err)
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
	if len(l.tail) == 0 {
		return nil
	}
	return l.store(l.bytes, l.tail)
}

// close stores the report and tells where. The parts are left to the bucket's retention: a repeated reading may need them.
func (l *rejectLog) close() (location string, err error) {
	if l.bytes == 0 {
		return "", nil
	}
	whole := &wholeParts{log: l, end: reportPart}
	location, err = l.reports.Put(l.ctx, l.upload+"/rejects.ndjson", io.MultiReader(whole, bytes.NewReader(l.tail)))
	if err != nil {
		return "", fmt.Errorf("storing the rejected rows: %w", err)
	}
	return location, nil
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
