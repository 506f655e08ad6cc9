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

// Limits of what a file may do to the one who reads it.
const (
	// MaxRecord is the greatest length of one row in the file, in bytes. It bounds the memory that an unclosed quote or
	// an endless string can take.
	MaxRecord = 1 << 20

	// maxWindow bounds the memory of a zstd frame. It is what RFC 8878, section 3.1.1.1.2, recommends decoders to support.
	maxWindow = 8 << 20

	// A file may expand to bombFloor bytes whatever its compressed size; beyond, to maxExpansion times that size. Rows of
	// text compress 3 to 30 times. It is looked at only every bombStep bytes, so that every run, however its reads fall,
	// ends such a file at the same row.
	bombFloor    = 64 << 20
	maxExpansion = 500
	bombStep     = 1 << 20

	bufferSize = 64 << 10
	headSize   = 4096 // bytes of the beginning that tell what a file is
)

var errRecordTooLong = fmt.Errorf("the record that begins here is longer than %d bytes", MaxRecord)

// source is the decompressed file as a decoder reads it: it bounds what one record may take, notices decompression
// bombs, and tells an unreadable file (a FileError) from a connection that broke (any other error; worth a retry).
type source struct {
	body    *bodyReader
	plain   io.Reader // body decompressed, in UTF-8
	charset charset   // that plain was converted from; UTF-8 if zero
	marked  bool      // a byte order mark tells the charset, whatever is declared
	close   func()
	format  FileType
	read    int64 // bytes of plain handed out
	allowed int64 // bytes of plain that may be handed out until the next record begins
	err     error // why reading ended; readers above may lose it over data that came with it

	record int64   // offset of the record that is being read
	window *window // the file from there on; nil where the decoder has each record at hand as it stands
}

// bodyReader counts the stored bytes and remembers if it was they that could not be read.
type bodyReader struct {
	r    io.Reader
	read int64
	err  error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err // it may come once only, and be lost with the decompressor
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	if err != nil && err != io.EOF { // only a bare one is the end; a wrapped one is a connection that broke
		b.err = err
	}
	return n, err
}

// chunks hands on what it reads in pieces of bufferSize, whatever pieces it comes in.
type chunks struct {
	in   io.Reader
	buf  []byte
	rest []byte // of buf, not handed out yet
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

func newSource(body io.Reader, format FileType) (*source, error) {
	s := &source{body: &bodyReader{r: body}, close: func() {}, format: format}
	compressed := &chunks{in: s.body}
	var err error
	switch format.Compression {
	case "gzip":
		s.plain, err = newGzip(compressed)
	case "zstd":
		var z *zstd.Decoder
		z, err = zstd.NewReader(compressed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
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

// gzipMembers reads one gzip member after the other (RFC 1952, section 2.2). gzip.Reader does so by itself, but takes a file
// for whole that is cut off in the name or the comment of a header.
type gzipMembers struct {
	in *bufio.Reader // the very buffer that z reads from
	z  *gzip.Reader
}

// newGzip leaves an empty file empty: there is nothing in it that could be corrupt.
func newGzip(r io.Reader) (io.Reader, error) {
	g := &gzipMembers{in: bufio.NewReader(r), z: new(gzip.Reader)}
	err := g.next()
	if err == io.EOF { //nolint:errorlint // next gives it bare
		return bytes.NewReader(nil), nil
	}
	return g, err
}

// next begins a member. The error is a bare io.EOF if there is none.
func (g *gzipMembers) next() error {
	const magic = "\x1f\x8b"
	head, err := g.in.Peek(len(magic))
	if len(head) == 0 {
		return err
	}
	if !strings.HasPrefix(magic, string(head)) { // the Reader finds only a header cut off, if less than a header is left
		return gzip.ErrHeader
	}
	err = g.z.Reset(g.in)
	if err == io.EOF { //nolint:errorlint // gzip gives it bare
		return io.ErrUnexpectedEOF
	}
	g.z.Multistream(false)
	return err
}

func (g *gzipMembers) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil {
		if n, err = g.z.Read(p); err == io.EOF { //nolint:errorlint // likewise
			err = g.next()
		}
	}
	return n, err
}

// begin tells at which offset the next record begins, and opens the budget for it. What the decoder has buffered already
// does not count twice.
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
	if room := s.allowed - s.read; int64(len(p)) > room {
		p = p[:room]
	}
	if room := bombStep - s.read%bombStep; int64(len(p)) > room {
		p = p[:room]
	}
	n, err := s.plain.Read(p)
	if s.window != nil {
		s.window.add(p[:n], s.record)
	}
	s.read += int64(n)
	switch {
	case s.format.Compression != "" && s.read > bombFloor && s.read%bombStep == 0 && s.read/maxExpansion > s.body.read:
		s.err = failure(events.DecompressionBomb, "%d bytes expand to more than %d; upload it in parts, or with less padding", s.body.read, s.read)
	case err == io.EOF && s.body.err == nil: // readers give it bare; zstd does for a body that broke, too
		s.err = err
	case err != nil:
		s.err = s.explain(err)
	}
	return n, s.err
}

// broken gives the error, other than the end of the file, with which reading ended.
func (s *source) broken() error {
	if s.err == io.EOF { //nolint:errorlint // it is kept bare
		return nil
	}
	return s.err
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
	what := "is broken"
	switch {
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return failure(events.CorruptCompression, "the zstd data needs a dictionary; compress it without one, and upload it again")
	case errors.Is(err, io.ErrUnexpectedEOF):
		what = "is cut off"
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		what = "is followed by something else"
	}
	return failure(events.CorruptCompression, "the %s data %s; compress and upload it again", s.format.Compression, what)
}

// Close frees the decompressor. The body is its opener's to close.
func (s *source) Close() { s.close() }
