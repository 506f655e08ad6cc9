package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/flavorless/flavorless/events"
)

// ndjsonDecoder decodes a JSON object per line (https://github.com/ndjson/ndjson-spec). An invalid line does not affect
// the next.
type ndjsonDecoder struct {
	src    *source
	in     *bufio.Reader
	object objectDecoder
	at     int64 // offset up to which lines were read
	line   int64 // 1-based current line
	indent int64 // bytes before at on its line, if reading began in the middle of a line
	column int64 // of the current row
	long   []byte
}

func newNDJSON(src *source, in *bufio.Reader, names columnNames, start, offset int64) (decoder, error) {
	d := &ndjsonDecoder{src: src, in: in, object: newObjectDecoder(src, names), at: start}
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
			return d.reject(u.Offset, 1, line, rowError(events.RecordTooLong,
				"the line is longer than %d bytes; put one object on each line, or shorten it", MaxRecord)), nil
		}
		if err != nil {
			return nil, err
		}
		text, lead := trim(line)
		for bytes.HasPrefix(text, []byte(markUTF8)) { // of a concatenated file
			rest, more := trim(text[len(markUTF8):])
			text, lead = rest, lead+int64(len(markUTF8))+more
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

// trim removes the white space around a line. Lead is the number of bytes removed at the beginning. It takes half of
// the time of package bytes.
func trim(line []byte) (text []byte, lead int64) {
	first, end := 0, len(line)
	for first < end && isJSONSpace(line[first]) {
		first++
	}
	for first < end && isJSONSpace(line[end-1]) {
		end--
	}
	return line[first:end], int64(first)
}

// isJSONSpace reports whether c is white space in JSON.
func isJSONSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// readLine reads a line including its newline. If the line is too long, it returns the beginning and errRecordTooLong,
// and skips the rest.
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
		err = nil // the last line may have no newline
	}
	return line, err
}

// skipLine reads to the end of a line that is too long. Err is the result of the last read.
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
	bad = d.src.checkEnd(row, bad)
	return &events.Reject{Line: d.line, Column: column, Offset: offset, Code: bad.Code, Reason: bad.Reason, Raw: raw(row)}
}
