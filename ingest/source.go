package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
)

// Limits of what a file may do to the one who reads it.
const (
	// MaxRecord is the greatest length of one row in the file, in bytes. It bounds the memory that an unclosed quote or
	// an endless string can take.
	MaxRecord = 1 << 20

	// maxWindow bounds the memory of a zstd frame. It is what RFC 8878, section 3.1.1.1.2, recommends decoders to support.
	maxWindow = 8 << 20

	// A file may expand to bombFloor bytes whatever its compressed size; beyond, to maxExpansion times that size. Rows of
	// text compress 3 to 30 times.
	bombFloor    = 64 << 20
	maxExpansion = 500

	bufferSize = 64 << 10
)

var errRecordTooLong = errors.New("record too long")

// source is the decompressed file as a decoder reads it: it bounds what one record may take, notices decompression
// bombs, and tells an unreadable file (a FileError) from a connection that broke (any other error; worth a retry).
type source struct {
	body    *bodyReader
	plain   io.Reader // body decompressed
	close   func()
	format  Format
	read    int64 // bytes of plain handed out
	allowed int64 // bytes of plain that may be handed out until the next record begins
	lines   *lineIndex

	newline, newlineBefore int64 // offsets of the last two newlines handed out, -1 without
}

// bodyReader counts the stored bytes and remembers if it was they that could not be read.
type bodyReader struct {
	r    io.Reader
	read int64
	err  error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	} else if err != nil && err != io.EOF { // wrapped: still the end
		err = io.EOF
	}
	return n, err
}

func newSource(body io.Reader, format Format) (*source, error) {
	s := &source{body: &bodyReader{r: body}, close: func() {}, format: format, newline: -1, newlineBefore: -1}
	var err error
	switch format.Compression {
	case "gzip":
		s.plain, err = newGzip(s.body)
	case "zstd":
		var z *zstd.Decoder
		z, err = zstd.NewReader(s.body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			s.plain, s.close = z, z.Close
		}
	default:
		s.plain = s.body
	}
	if err != nil {
		return nil, s.explain(err)
	}
	s.beginRecord()
	return s, nil
}

// newGzip leaves an empty file empty: there is nothing in it that could be corrupt.
func newGzip(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err == io.EOF { //nolint:errorlint // bare only when not one byte was read
		return bytes.NewReader(nil), nil
	}
	return z, err
}

// beginRecord opens the budget for the next record. What the decoder has buffered already does not count twice.
func (s *source) beginRecord() { s.allowed = s.read + MaxRecord + bufferSize }

func (s *source) Read(p []byte) (int, error) {
	if s.read >= s.allowed {
		return 0, errRecordTooLong
	}
	if room := s.allowed - s.read; int64(len(p)) > room {
		p = p[:room]
	}
	n, err := s.plain.Read(p)
	if s.lines != nil {
		s.lines.add(p[:n], s.read)
	}
	s.noteNewlines(p[:n])
	s.read += int64(n)
	if s.format.Compression != "" && s.read > bombFloor && s.read/maxExpansion > s.body.read {
		return n, failure(events.DecompressionBomb, "%d bytes expand to more than %d; upload it in parts, or with less padding", s.body.read, s.read)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // readers give it bare
		err = s.explain(err)
	}
	return n, err
}

func (s *source) noteNewlines(p []byte) {
	last := bytes.LastIndexByte(p, '\n')
	if last < 0 {
		return
	}
	s.newlineBefore, s.newline = s.newline, s.read+int64(last)
	if before := bytes.LastIndexByte(p[:last], '\n'); before >= 0 {
		s.newlineBefore = s.read + int64(before)
	}
}

// lastLine gives the offset at which the last line begins that was read. A final newline belongs to the line it ends.
func (s *source) lastLine() int64 {
	if s.newline == s.read-1 {
		return s.newlineBefore + 1
	}
	return s.newline + 1
}

// explain tells the uploader's fault from the network's.
func (s *source) explain(err error) error {
	if s.body.err != nil {
		return fmt.Errorf("reading the object: %w", s.body.err)
	}
	if errors.Is(err, gzip.ErrHeader) && s.read == 0 || errors.Is(err, zstd.ErrMagicMismatch) && s.read == 0 {
		return failure(events.FormatMismatch, "the name says %s, but the content is not %s; mend the name", s.format, s.format.Compression)
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return failure(events.CorruptCompression, "its zstd window is over %d MiB; compress it without --long and below --ultra", maxWindow>>20)
	}
	return failure(events.CorruptCompression, "the %s data is broken or cut off (%v); compress and upload it again", s.format.Compression, err)
}

// Close frees the decompressor. The body is its opener's to close.
func (s *source) Close() { s.close() }

// lineIndex tells on which line and column an offset lies, for decoders that do not count lines themselves. It holds the
// newlines between what was read and what was consumed, so its memory is bounded by the decoder's buffer.
type lineIndex struct {
	newlines []int64 // offsets of newlines not yet passed
	line     int64   // number of the line that the last position was on, from 1
	start    int64   // offset of that line's first byte
}

func (x *lineIndex) add(p []byte, base int64) {
	for at := 0; ; at++ {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return
		}
		at += i
		x.newlines = append(x.newlines, base+int64(at))
	}
}

// position gives the 1-based line, and byte within it, of an offset. Offsets must not decrease from call to call.
func (x *lineIndex) position(offset int64) (line, column int64) {
	passed := 0
	for passed < len(x.newlines) && x.newlines[passed] < offset {
		x.start = x.newlines[passed] + 1
		passed++
	}
	x.line += int64(passed)
	x.newlines = x.newlines[passed:]
	return x.line, offset - x.start + 1
}
