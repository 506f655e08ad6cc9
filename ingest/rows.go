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

// Rows reads a file row by row. Its memory does not grow with the file.
type Rows struct {
	src      *source
	fileType FileType
	decoder  decoder
	read     int64
	row      events.Update // that Next returns
	err      error
}

// decoder decodes the rows of one format.
type decoder interface {
	// next decodes a row, or returns why it is rejected. The error is io.EOF at the end, a *FileError if the rest of
	// the file can't be read, and any other error if reading may succeed later.
	next(u *events.Update) (*events.Reject, error)
	// position returns the line, the column and the offset of the current record.
	position() (line, column, offset int64)
	// missing returns a name of metadata, and the column that they name, if that column has not occurred so far. Otherwise
	// it returns empty names.
	missing() (metadata, name string)
	// state returns what Continue needs to start at the offset of the last row.
	state(offset int64) events.ReaderState
}

// Open opens a file whose name determines the format. The error is a *FileError if the content has another format, and
// any other error if reading body fails. The caller closes the body and the Rows.
func Open(body io.Reader, name string, o Options) (*Rows, error) { return OpenAt(body, name, o, 0) }

// OpenAt is like Open, but skips the rows before offset, which must be the offset of a row. The body is the whole file.
func OpenAt(body io.Reader, name string, o Options, offset int64) (*Rows, error) {
	return open(body, name, func(src *source) (decoder, error) {
		if err := src.decodeText(o.charset); err != nil {
			return nil, err
		}
		d, err := newDecoder(src, o.names(), offset)
		return d, src.nameCharset(err)
	})
}

func open(body io.Reader, name string, newDecoder func(*source) (decoder, error)) (*Rows, error) {
	fileType, err := FileTypeOf(name)
	if err != nil {
		return nil, err
	}
	src, err := newSource(body, fileType)
	if err != nil {
		return nil, err
	}
	rows := &Rows{src: src, fileType: fileType}
	if rows.decoder, err = newDecoder(src); err != nil {
		src.Close()
		return nil, err
	}
	return rows, nil
}

func newDecoder(src *source, names columnNames, offset int64) (decoder, error) {
	format := src.fileType.Format
	if format != NDJSON {
		src.window = &window{line: 1}
	}
	in := bufio.NewReaderSize(src, bufferSize)
	head, err := in.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	start := int64(0)
	if bytes.HasPrefix(head, []byte(markUTF8)) {
		head = head[len(markUTF8):]
		n, _ := in.Discard(len(markUTF8)) // is buffered
		start = int64(n)
	}
	if bad := src.mismatch(head); bad != nil {
		switch f := &bad.Failure; f.Line {
		case 0:
			f.Line, f.Column = 1, 1
		case 1:
			f.Column += start
		}
		return nil, bad
	}
	switch format {
	case JSON:
		if in, err = checkObject(src, in, names, start); err != nil {
			return nil, err
		}
		return newJSON(src, in, names, start, offset)
	case NDJSON:
		return newNDJSON(src, in, names, start, offset)
	default:
		return newCSV(src, in, names, start, offset)
	}
}

// skip discards the bytes between two offsets, in pieces that are shorter than MaxRecord. If skipped is non-nil, it is
// called with each piece.
func skip(src *source, in *bufio.Reader, from, to int64, skipped func(piece []byte)) error {
	for from < to {
		src.begin(from)
		piece, err := in.Peek(int(min(to-from, bufferSize)))
		if len(piece) == 0 {
			if isEnd(err) {
				err = fmt.Errorf("the file ends before offset %d: %w", to, events.ErrPermanent)
			}
			return err
		}
		if skipped != nil {
			skipped(piece)
		}
		n, _ := in.Discard(len(piece)) // is buffered
		from += int64(n)
	}
	src.begin(to)
	return nil
}

// Read returns the number of rows that Next has returned.
func (r *Rows) Read() int64 { return r.read }

// Next returns the next row, or the reason why it is rejected. At the end of the file, the error is io.EOF. A
// *FileError states where and why the rest of the file can't be read. Any other error comes from the body and may be
// temporary. After an error, Next returns the same error.
func (r *Rows) Next() (events.Update, *events.Reject, error) {
	if r.err != nil {
		return events.Update{}, nil, r.err
	}
	reject, err := r.decoder.next(&r.row)
	if err != nil {
		r.err = r.src.nameCharset(withPosition(r.decoder, err))
		return events.Update{}, nil, r.err
	}
	r.read++
	return r.row, reject, nil
}

// withPosition makes errRecordTooLong a FileError, and adds the position of the current record to FileErrors without
// one.
func withPosition(d decoder, err error) error {
	var bad *FileError
	if !errors.As(err, &bad) {
		if !errors.Is(err, errRecordTooLong) {
			return err
		}
		bad = failure(events.RecordTooLong, "%v; look for an unclosed quote", err)
	}
	if bad.Failure.Line == 0 {
		bad.Failure.Line, bad.Failure.Column, bad.Failure.Offset = d.position()
	}
	return bad
}

// Close releases the resources of r. It does not close the body.
func (r *Rows) Close() { r.src.Close() }

// fill sets u to the three fields of a row. FlavorText is nil if the flavor is null or absent. If the row is to be
// rejected, fill returns the column of the fault. It is a method of source because reasons name the charset.
func (s *source) fill(
	u *events.Update, personText string, flavorText *string, actionText string,
) (at column, bad *events.RowError) {
	if u.Person, bad = events.CleanName(personText, "person", events.MissingPerson); bad != nil {
		return person, s.inCharset(bad, "person")
	}
	u.Flavor, u.Remove = "", false
	switch actionText {
	case "", "set":
	case "remove":
		u.Remove = true
	default:
		if u.Remove, bad = parseAction(actionText); bad != nil {
			return action, bad
		}
	}
	if u.Remove {
		return 0, nil
	}
	if flavorText == nil {
		return flavor, rowError(events.MissingFlavor, "flavor is missing; add it, or remove the person with action remove")
	}
	if u.Flavor, bad = events.CleanName(*flavorText, "flavor", events.MissingFlavor); bad != nil {
		if bad.Code == events.MissingFlavor {
			bad.Reason += ", or remove the person with action remove"
		}
		return flavor, s.inCharset(bad, "flavor")
	}
	return 0, nil
}

// inCharset replaces the reason of events.CleanName for invalid UTF-8 by one that names the charset of the file.
func (s *source) inCharset(bad *events.RowError, field string) *events.RowError {
	if bad.Code == events.InvalidUTF8 {
		return s.invalidText(field)
	}
	return bad
}

func parseAction(text string) (remove bool, bad *events.RowError) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "", "set":
		return false, nil
	case "remove":
		return true, nil
	}
	return false, rowError(events.UnknownAction, "action is %q; write set or remove, or leave it empty",
		truncate(text, 40))
}

func rowError(code events.Code, format string, args ...any) *events.RowError {
	return &events.RowError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

func malformed(reason string) *events.RowError {
	return &events.RowError{Code: events.MalformedRow, Reason: reason}
}

// raw returns a row for events.Reject.Raw.
func raw(row []byte) string {
	return truncate(strings.TrimRight(string(row[:min(len(row), events.MaxRaw+1)]), "\r\n"), events.MaxRaw)
}

// truncate replaces invalid UTF-8 in s and cuts the result to at most n bytes, between two characters.
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
