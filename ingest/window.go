package ingest

import "bytes"

// window is a copy of the file from the current record to the end of the decoder's buffer. Rejected rows need their raw
// text and line numbers, which the parsers do not keep. Lines are counted only when a position is needed.
type window struct {
	buf  []byte
	base int64 // offset of buf in the file

	// The offset up to which lines are counted, its 1-based line, and the offset at which that line starts.
	counted, line, start int64
}

// add appends p. The bytes before record are no longer needed.
func (w *window) add(p []byte, record int64) {
	w.advance(record)
	if n := record - w.base; n > 0 {
		w.buf = append(w.buf[:0], w.buf[n:]...)
		w.base = record
	}
	w.buf = append(w.buf, p...)
}

// advance counts lines up to record, which must not decrease.
func (w *window) advance(record int64) {
	w.line, w.start = w.lineOf(record)
	w.counted = record
}

func (w *window) lineOf(offset int64) (line, start int64) {
	passed := w.bytes(w.counted, offset)
	last := bytes.LastIndexByte(passed, '\n')
	if last < 0 {
		return w.line, w.start
	}
	return w.line + int64(bytes.Count(passed, []byte("\n"))), w.counted + int64(last) + 1
}

// position returns the 1-based line of an offset in the window, and the 1-based byte within that line.
func (w *window) position(offset int64) (line, column int64) {
	line, start := w.lineOf(offset)
	return line, offset - start + 1
}

// bytes returns the file between two offsets. The result is valid until the next call of add.
func (w *window) bytes(from, to int64) []byte { return w.buf[from-w.base : to-w.base] }

// rest returns the window from an offset.
func (w *window) rest(from int64) []byte { return w.buf[from-w.base:] }
