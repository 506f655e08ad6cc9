package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/flavorless/flavorless/events"
)

// ndjsonDecoder reads one JSON object a line (https://github.com/ndjson/ndjson-spec). Lines are independent: a broken one
// is rejected and the next one read.
type ndjsonDecoder struct {
	src    *source
	in     *bufio.Reader
	object objectDecoder
	at     int64 // offset up to which lines were read
	line   int64 // number of the current line, from 1
	indent int64 // what precedes at on its line, where reading began in the middle of one
	column int64 // of the current row
	long   []byte
}

func newNDJSON(src *source, in *bufio.Reader, names columnNames, start, offset int64) (decoder, error) {
	d := &ndjsonDecoder{src: src, in: in, object: objectDecoder{names: names}, at: start}
	if offset <= start {
		return d, nil
	}
	d.at = offset
	return d, skip(src, in, start, offset, func(piece []byte) {
		d.line += int64(bytes.Count(piece, []byte("\n")))
		if last := bytes.LastIndexByte(piece, '\n'); last >= 0 {
			d.indent, piece = 0, piece[last+1:]
		}
		d.indent += int64(len(piece))
	})
}

func (d *ndjsonDecoder) missing() (metadata, name string) { return d.object.missing() }

func (d *ndjsonDecoder) position() (line, column, offset int64) { return d.line, 1, d.src.record }

func (d *ndjsonDecoder) next(u *events.Update) (*events.Reject, error) {
	for {
		d.src.begin(d.at)
		*u, d.column = events.Update{Offset: d.at}, 1
		line, err := d.readLine()
		if errors.Is(err, errRecordTooLong) {
			return d.reject(u.Offset, 1, line, &events.RowError{Code: events.RecordTooLong,
				Reason: fmt.Sprintf("the line is longer than %d bytes; put one object on each line", MaxRecord)}), nil
		}
		if err != nil {
			return nil, err
		}
		text, lead := trim(line)
		for bytes.HasPrefix(text, []byte(byteOrderMark)) { // of a file that was joined to another
			rest, more := trim(text[len(byteOrderMark):])
			text, lead = rest, lead+int64(len(byteOrderMark))+more
		}
		before := d.indent + lead
		d.indent = 0
		if len(text) == 0 {
			continue
		}
		u.Offset += lead
		d.column = before + 1
		if column, bad := d.object.decode(text, u); bad != nil {
			return d.reject(u.Offset, before+column, text, bad), nil
		}
		return nil, nil
	}
}

// trim gives a line without the white space around it, and how much of that came first. It costs half of what package
// bytes takes for any set of characters.
func trim(line []byte) (text []byte, lead int64) {
	first, end := 0, len(line)
	for first < end && blank(line[first]) {
		first++
	}
	for first < end && blank(line[end-1]) {
		end--
	}
	return line[first:end], int64(first)
}

// blank tells what is white space in JSON.
func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// readLine reads a line with its newline, if it has one. Of a line that is too long it returns the beginning, and skips
// the rest.
func (d *ndjsonDecoder) readLine() ([]byte, error) {
	line, err := d.in.ReadSlice('\n')
	d.line++
	if errors.Is(err, bufio.ErrBufferFull) {
		d.long = append(d.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) && len(d.long) <= MaxRecord {
			line, err = d.in.ReadSlice('\n')
			d.long = append(d.long, line...)
		}
		line = d.long
	}
	d.at += int64(len(line))
	if len(line) > MaxRecord {
		return line, d.skipLine(err)
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil // the last line may lack its newline
	}
	return line, err
}

// skipLine reads on to the end of a line that is too long. How the line so far ended is in err.
func (d *ndjsonDecoder) skipLine(err error) error {
	for errors.Is(err, bufio.ErrBufferFull) {
		d.src.begin(d.src.record)
		var more []byte
		more, err = d.in.ReadSlice('\n')
		d.at += int64(len(more))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return errRecordTooLong
}

func (d *ndjsonDecoder) reject(offset, column int64, row []byte, bad *events.RowError) *events.Reject {
	bad = d.src.reject(row, bad)
	return &events.Reject{Line: d.line, Column: column, Offset: offset, Code: bad.Code, Reason: bad.Reason, Raw: raw(row)}
}
