package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/flavorless/flavorless/events"
)

// Rows reads a file row by row, in memory that does not grow with the file.
type Rows struct {
	src     *source
	format  FileType
	decoder decoder
	read    int64
	row     events.Update // that Next returns
	err     error
}

// decoder reads one format. next returns a row, or why it is rejected. The error is io.EOF at the
// end, a *FileError when the file can't be read on, and any other when reading may succeed another time.
type decoder interface {
	next(u *events.Update) (*events.Reject, error)
	// position gives line, column and offset of the record that is being read.
	position() (line, column, offset int64)
	// missing returns the metadata that names a column, and its name, if the file has had no such column so far.
	missing() (metadata, name string)
	// state returns what Continue needs, besides the offset, to start at the row that next returned last.
	state(offset int64) events.ReaderState
}

// Open begins to read body, whose format its name tells. The error is a *FileError if the content is not that, and any
// other error when the body itself can't be read. The caller closes both the body and the Rows.
func Open(body io.Reader, name string, o Options) (*Rows, error) { return OpenAt(body, name, o, 0) }

// OpenAt is Open for a reader that goes on where another one stopped: at the offset of a row that the other one would have
// read next. Body is the whole file all the same. Offsets and lines are those of the whole file.
func OpenAt(body io.Reader, name string, o Options, offset int64) (*Rows, error) {
	format, err := FileTypeOf(name)
	if err != nil {
		return nil, err
	}
	src, err := newSource(body, format)
	if err != nil {
		return nil, err
	}
	if err := src.decodeText(o.charset); err != nil {
		src.Close()
		return nil, err
	}
	rows := &Rows{src: src, format: format}
	if rows.decoder, err = newDecoder(src, format, o.names(), offset); err != nil {
		src.Close()
		return nil, src.readAs(err)
	}
	return rows, nil
}

func newDecoder(src *source, format FileType, names columnNames, offset int64) (decoder, error) {
	if format.Format != "ndjson" {
		src.window = &window{line: 1}
	}
	in := bufio.NewReaderSize(src, bufferSize)
	head, err := in.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	start := int64(0)
	if bytes.HasPrefix(head, []byte(byteOrderMark)) {
		head = head[len(byteOrderMark):]
		n, _ := in.Discard(len(byteOrderMark)) // they are buffered
		start = int64(n)
	}
	if bad := format.mismatch(head); bad != nil {
		switch f := &bad.Failure; f.Line {
		case 0:
			f.Line, f.Column = 1, 1
		case 1:
			f.Column += start
		}
		return nil, bad
	}
	switch format.Format {
	case "json":
		if in, err = checkObject(src, in, names, start); err != nil {
			return nil, err
		}
		return newJSON(src, in, names, start, offset)
	case "ndjson":
		return newNDJSON(src, in, names, start, offset)
	default:
		return newCSV(src, in, start, offset, format, names)
	}
}

// skip moves in from an offset to a later one. The pieces are shorter than a record may be, and each is passed on as it is
// skipped.
func skip(src *source, in *bufio.Reader, from, to int64, passed func(piece []byte)) error {
	for from < to {
		src.begin(from)
		piece, err := in.Peek(int(min(to-from, bufferSize)))
		if len(piece) == 0 {
			if err == io.EOF { //nolint:errorlint // the source gives it bare
				err = fmt.Errorf("there is no offset %d in this file: %w", to, events.ErrPermanent)
			}
			return err
		}
		if passed != nil {
			passed(piece)
		}
		n, _ := in.Discard(len(piece)) // they are buffered
		from += int64(n)
	}
	src.begin(to)
	return nil
}

// Format tells what is read.
func (r *Rows) Format() FileType { return r.format }

// Read is the number of rows returned by Next so far.
func (r *Rows) Read() int64 { return r.read }

// Next returns the next row, or why that row is rejected. At the end the error is io.EOF; a *FileError says that,
// and where, the file can't be read on. Any other error comes from the body and may go away. Errors stay.
func (r *Rows) Next() (events.Update, *events.Reject, error) {
	if r.err != nil {
		return events.Update{}, nil, r.err
	}
	reject, err := r.decoder.next(&r.row)
	if err != nil {
		r.err = r.src.readAs(explain(r.decoder, err))
		return events.Update{}, nil, r.err
	}
	r.read++
	return r.row, reject, nil
}

// explain places a file's failure.
func explain(d decoder, err error) error {
	if err == io.EOF { //nolint:errorlint // decoders give it bare
		return err
	}
	var bad *FileError
	if !errors.As(err, &bad) {
		if !errors.Is(err, errRecordTooLong) {
			return err
		}
		bad = failure(events.RecordTooLong, "%v; look for a quote that is not closed", err)
	}
	if bad.Failure.Line == 0 {
		bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = d.position()
	}
	return bad
}

// Close frees what reading took.
func (r *Rows) Close() { r.src.Close() }

// update makes an Update of the three fields of a row. Flavor is nil where it is null or absent.
func update(u *events.Update, person string, flavor *string, action string) (field string, bad *events.RowError) {
	if u.Person, bad = events.CleanName(person, "person", events.MissingPerson); bad != nil {
		return "person", bad
	}
	u.Flavor, u.Remove = "", false
	switch action {
	case "", "set":
	case "remove":
		u.Remove = true
		return "", nil
	default:
		if u.Remove, bad = parseAction(action); bad != nil {
			return "action", bad
		}
		if u.Remove {
			return "", nil
		}
	}
	if flavor == nil {
		return "flavor", &events.RowError{Code: events.MissingFlavor, Reason: "flavor is missing; give one, or remove the person with action remove"}
	}
	if u.Flavor, bad = events.CleanName(*flavor, "flavor", events.MissingFlavor); bad != nil {
		if bad.Code == events.MissingFlavor {
			bad.Reason += ", or remove the person with action remove"
		}
		return "flavor", bad
	}
	return "", nil
}

func parseAction(action string) (remove bool, bad *events.RowError) {
	switch strings.ToLower(strings.TrimSpace(action)) {
	case "", "set":
		return false, nil
	case "remove":
		return true, nil
	}
	return false, &events.RowError{Code: events.UnknownAction, Reason: fmt.Sprintf("action is %q; it can be set (or empty) or remove", truncate(action, 40))}
}

// raw is a row as it stands in the file, fit to be shown: at most MaxRaw bytes of valid UTF-8.
func raw(row []byte) string {
	return truncate(strings.TrimRight(string(row[:min(len(row), events.MaxRaw+1)]), "\r\n"), events.MaxRaw)
}

// truncate cuts to at most n bytes between two characters, replacing what is not UTF-8.
func truncate(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
