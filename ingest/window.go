package ingest

import "bytes"

// window holds the file from the record that is read on, as far as the decoder has it in its buffer. Parsers neither
// keep a row as it stands nor (jsontext) count lines. Copying is cheap, and lines are counted in long runs: by far the
// most rows are accepted, and nobody asks where those stood.
type window struct {
	buf  []byte
	base int64 // offset of its first byte in the file

	// Lines are counted up to here.
	counted int64
	line    int64 // on which counted lies, from 1
	start   int64 // offset of that line's first byte
}

// add appends what was read. What lies before record is not asked for any more.
func (w *window) add(p []byte, record int64) {
	w.count(record)
	if n := record - w.base; n > 0 {
		w.buf = append(w.buf[:0], w.buf[n:]...)
		w.base = record
	}
	w.buf = append(w.buf, p...)
}

// count moves on to record, which must not decrease from call to call.
func (w *window) count(record int64) {
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

// place gives the 1-based line and byte within it at which an offset lies. It must not lie before the record.
func (w *window) place(offset int64) (line, column int64) {
	line, start := w.lineOf(offset)
	return line, offset - start + 1
}

// bytes gives the file between two offsets, until the next add.
func (w *window) bytes(from, to int64) []byte { return w.buf[from-w.base : to-w.base] }

// rest gives the file from an offset on, as far as it was read.
func (w *window) rest(from int64) []byte { return w.buf[from-w.base:] }
