package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
)

// Limits on the resources that a file can use.
const (
	// MaxRecord is the maximum length of a row in the file, in bytes. It bounds the memory for unclosed quotes and long
	// strings.
	MaxRecord = 1 << 20

	// maxWindow bounds the memory for a zstd frame. RFC 8878, section 3.1.1.1.2, recommends to support this size.
	maxWindow = 8 << 20

	// A file may expand to bombFloor bytes, and beyond that to maxExpansion times its compressed size. Rows of text
	// compress 3 to 30 times. The limit is checked at multiples of bombStep bytes, so that repeated readings end at the
	// same row.
	bombFloor    = 64 << 20
	maxExpansion = 500
	bombStep     = 1 << 20

	bufferSize = 64 << 10
	headSize   = 4096 // bytes that are compared with the file type
)

var errRecordTooLong = fmt.Errorf("the record that begins here is longer than %d bytes", MaxRecord)

// source is the decompressed content of a file in UTF-8. It limits the length of records, detects decompression bombs,
// and distinguishes invalid content (a FileError) from a failure to read the body (any other error).
type source struct {
	body     *bodyReader
	plain    io.Reader // body, decompressed and in UTF-8
	charset  charset   // of the file; UTF-8 if zero
	marked   bool      // whether a byte order mark states the charset
	close    func()
	fileType FileType
	read     int64 // bytes read from plain
	allowed  int64 // maximum of read until the next record begins
	err      error // final error, which buffered readers may drop

	record int64   // offset of the current record
	window *window // nil for NDJSON, whose decoder has the raw text of each record
}

// isEnd reports whether err is io.EOF itself. An error that wraps io.EOF means that the connection was lost.
func isEnd(err error) bool { return err == io.EOF } //nolint:errorlint // see above

// bodyReader counts the stored bytes, and keeps the error of reading them.
type bodyReader struct {
	r    io.Reader
	read int64
	err  error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err // the decompressor may have dropped it
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	if err != nil && !isEnd(err) {
		b.err = err
	}
	return n, err
}

// chunks reads in pieces of bufferSize, so that decoders behave the same regardless of the pieces in which the body
// arrives.
type chunks struct {
	in   io.Reader
	buf  []byte
	rest []byte // unread part of buf
	err  error
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 && c.err == nil {
		if c.buf == nil {
			c.buf = make([]byte, bufferSize)
		}
		n := 0
		for n < len(c.buf) && c.err == nil {
			var m int
			m, c.err = c.in.Read(c.buf[n:])
			n += m
		}
		c.rest = c.buf[:n]
	}
	if len(c.rest) == 0 {
		return 0, c.err
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func newSource(body io.Reader, t FileType) (*source, error) {
	s := &source{body: &bodyReader{r: body}, close: func() {}, fileType: t}
	compressed := &chunks{in: s.body}
	var err error
	switch t.Compression {
	case Gzip:
		s.plain, err = newGzip(compressed)
	case Zstd:
		var z *zstd.Decoder
		z, err = zstd.NewReader(compressed,
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			s.plain, s.close = z, z.Close
		}
	default:
		s.plain = s.body
	}
	if err != nil {
		return nil, s.explain(err)
	}
	s.begin(0)
	return s, nil
}

// gzipMembers reads the members of a gzip file (RFC 1952, section 2.2). The multistream mode of gzip.Reader does not
// detect that a file is truncated in the name or comment of a member's header.
type gzipMembers struct {
	in *bufio.Reader // z reads from this buffer
	z  *gzip.Reader
}

// newGzip returns an empty reader for an empty file.
func newGzip(r io.Reader) (io.Reader, error) {
	g := &gzipMembers{in: bufio.NewReader(r), z: new(gzip.Reader)}
	err := g.next()
	if isEnd(err) {
		return bytes.NewReader(nil), nil
	}
	return g, err
}

// next begins the next member. The error is io.EOF, unwrapped, if there is none.
func (g *gzipMembers) next() error {
	const magic = "\x1f\x8b"
	head, err := g.in.Peek(len(magic))
	if len(head) == 0 {
		return err
	}
	if !strings.HasPrefix(magic, string(head)) { // gzip.Reader may report a truncated header
		return gzip.ErrHeader
	}
	err = g.z.Reset(g.in)
	if isEnd(err) {
		return io.ErrUnexpectedEOF
	}
	g.z.Multistream(false)
	return err
}

func (g *gzipMembers) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil {
		if n, err = g.z.Read(p); isEnd(err) {
			err = g.next()
		}
	}
	return n, err
}

// begin starts the next record at offset and renews the limit on its length. The limit allows for the decoder's buffer.
func (s *source) begin(offset int64) {
	s.record = offset
	s.allowed = s.read + MaxRecord + bufferSize
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.read >= s.allowed {
		return 0, errRecordTooLong
	}
	p = p[:min(int64(len(p)), s.allowed-s.read, bombStep-s.read%bombStep)]
	n, err := s.plain.Read(p)
	if s.window != nil {
		s.window.add(p[:n], s.record)
	}
	s.read += int64(n)
	switch {
	case s.fileType.Compression != "" && s.read > bombFloor && s.read%bombStep == 0 && s.read/maxExpansion > s.body.read:
		s.err = failure(events.DecompressionBomb,
			"%d compressed bytes expand to more than %d; split the file, or remove padding", s.body.read, s.read)
	case isEnd(err) && s.body.err == nil: // zstd also returns io.EOF after an error of the body
		s.err = err
	case err != nil:
		s.err = s.explain(err)
	}
	return n, s.err
}

// failed returns the error that ended reading, unless it is io.EOF.
func (s *source) failed() error {
	if isEnd(s.err) {
		return nil
	}
	return s.err
}

// explain returns a FileError for an error of a decompressor, unless reading the body failed.
func (s *source) explain(err error) error {
	if s.body.err != nil {
		return fmt.Errorf("reading the object: %w", s.body.err)
	}
	if errors.Is(err, gzip.ErrHeader) && s.read == 0 || errors.Is(err, zstd.ErrMagicMismatch) && s.read == 0 {
		return mismatch("the file name says %s, but the content is not %s; correct the name",
			s.fileType, s.fileType.Compression)
	}
	what := "are corrupt"
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return corrupt("the zstd window is larger than %d MiB; compress the file without --long and --ultra", maxWindow>>20)
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return corrupt("the zstd data need a dictionary; compress the file without one and upload it again")
	case errors.Is(err, io.ErrUnexpectedEOF):
		what = "are truncated"
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		what = "are followed by other data"
	}
	return corrupt("the %s data %s; compress the file again and upload it", s.fileType.Compression, what)
}

func corrupt(format string, args ...any) *FileError {
	return failure(events.CorruptCompression, format, args...)
}

// Close releases the decompressor. It does not close the body.
func (s *source) Close() { s.close() }
