package gateway

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// checkChunks makes versitygw read a chunked body through a reader that checks its framing. versitygw's reader of
// signed chunks panics on a negative size, its reader of unsigned chunks keeps a trailer of any length in memory, and
// neither refuses more data than announced. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
func checkChunks(c fiber.Ctx) error {
	payload := c.Get("X-Amz-Content-Sha256")
	announced := int64(-1) // unknown, which versitygw refuses
	if length := c.Get("X-Amz-Decoded-Content-Length"); length != "" {
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil || n < 0 {
			return invalidArgument("x-amz-decoded-content-length", length,
				"The header x-amz-decoded-content-length must be a number of bytes.")
		}
		announced = n
	}
	if !strings.HasPrefix(payload, "STREAMING-") {
		return nil
	}
	if strings.HasPrefix(payload, "STREAMING-AWS4-ECDSA-") {
		return notImplemented("This server does not support chunks signed with ECDSA. Sign them with AWS4-HMAC-SHA256.")
	}
	if isPresigned(c) { // versitygw would store the framing
		return invalidArgument("x-amz-content-sha256", payload,
			"The body of a presigned request can't be sent in chunks. Remove the header x-amz-content-sha256.")
	}
	body := c.Request().BodyStream()
	if body == nil {
		return nil
	}
	head := unsignedChunk
	if strings.HasPrefix(payload, "STREAMING-AWS4-") {
		head = signedChunk
	}
	utils.ContextKeyBodyReader.Set(c, io.Reader(&chunks{body: body, headPattern: head, announced: announced}))
	return nil
}

var (
	signedChunk   = regexp.MustCompile(`^([0-9a-fA-F]{1,15});chunk-signature=[0-9a-fA-F]{64}\r\n$`)
	unsignedChunk = regexp.MustCompile(`^([0-9a-fA-F]{1,15})\r\n$`)
)

const (
	maxChunkHead = 128     // bytes of the line before a chunk
	maxTrailer   = 4 << 10 // bytes after the last chunk
)

// chunks reads a chunked body, framing included. It returns an error where the framing is invalid.
type chunks struct {
	body        io.Reader
	headPattern *regexp.Regexp
	announced   int64 // bytes of data that remain; negative if unknown

	head    []byte        // the part of a chunk's head that was read so far
	data    int64         // bytes that remain of the chunk
	lineEnd int           // bytes that remain of the line end after the chunk
	trailer *bytes.Reader // what follows the head of the last chunk; nil before
	err     error
}

var (
	errBadChunks = s3err.GetAPIError(s3err.ErrIncompleteBody) // as S3 answers
	errLongBody  = s3err.GetAPIError(s3err.ErrContentLengthMismatch)
)

// Read returns none of the bytes that it read from the body if their framing is invalid.
func (c *chunks) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.trailer != nil {
		return c.readTrailer(p)
	}
	n, err := c.body.Read(p)
	rest, invalid := c.parse(p[:n])
	if invalid == nil && c.trailer == nil && isEnd(err) {
		invalid = errBadChunks // the last chunk is missing
	}
	if invalid != nil {
		c.err = invalid
		return 0, invalid
	}
	if c.trailer != nil {
		return n - rest, nil
	}
	return n, err //nolint:wrapcheck // the body's own
}

// isEnd reports whether a body ended or its connection broke off. versitygw treats both alike and would accept a body
// without its trailer.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// readTrailer reads the trailer. It returns io.EOF together with the last bytes, because versitygw compares lengths
// only then.
func (c *chunks) readTrailer(p []byte) (int, error) {
	n, err := c.trailer.Read(p)
	if c.trailer.Len() == 0 {
		err = io.EOF
	}
	return n, err //nolint:wrapcheck // the end
}

// parse checks the framing in p. It returns the number of bytes at the end of p that belong to the trailer.
func (c *chunks) parse(p []byte) (rest int, err error) {
	for len(p) > 0 {
		switch {
		case c.data > 0:
			n := min(c.data, int64(len(p)))
			c.data -= n
			p = p[n:]
		case c.lineEnd > 0:
			if p[0] != "\n\r"[c.lineEnd-1] {
				return 0, errBadChunks
			}
			c.lineEnd--
			p = p[1:]
		default:
			n := bytes.IndexByte(p, '\n') + 1
			if n == 0 {
				n = len(p)
			}
			c.head = append(c.head, p[:min(n, maxChunkHead)]...)
			p = p[n:]
			last, err := c.parseHead()
			if err != nil {
				return 0, err
			}
			if last {
				return len(p), c.collectTrailer(p)
			}
		}
	}
	return 0, nil
}

// parseHead starts a chunk if its head is complete. It reports whether that chunk is the last one, which is empty.
func (c *chunks) parseHead() (last bool, err error) {
	if len(c.head) > maxChunkHead {
		return false, errBadChunks
	}
	if !bytes.HasSuffix(c.head, []byte("\n")) {
		return false, nil
	}
	match := c.headPattern.FindSubmatch(c.head)
	if match == nil {
		return false, errBadChunks
	}
	size, err := strconv.ParseInt(string(match[1]), 16, 64)
	if err != nil {
		return false, errBadChunks
	}
	if c.announced >= 0 {
		if size > c.announced {
			return false, errLongBody
		}
		c.announced -= size
	}
	c.head, c.data, c.lineEnd = c.head[:0], size, 2
	return size == 0, nil
}

// collectTrailer reads the rest of the trailer, which starts with the given bytes.
func (c *chunks) collectTrailer(start []byte) error {
	raw, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(start), c.body), maxTrailer+1))
	if isEnd(err) || len(raw) > maxTrailer {
		return errBadChunks
	}
	if err != nil {
		return err //nolint:wrapcheck // the body's own
	}
	c.trailer = bytes.NewReader(normalizeTrailer(raw))
	return nil
}

// normalizeTrailer returns a trailer in the only form that versitygw reads: lower-case names, no space around values,
// lines that end in CR LF, and an empty line at the end. In AWS's examples, and in clients that follow them, values end
// in LF CR LF.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
func normalizeTrailer(raw []byte) []byte {
	var normal bytes.Buffer
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if name, value, found := bytes.Cut(line, []byte(":")); found {
			line = slices.Concat(bytes.ToLower(bytes.TrimSpace(name)), []byte(":"), bytes.TrimSpace(value))
		}
		normal.Write(line)
		normal.WriteString("\r\n")
	}
	normal.WriteString("\r\n")
	return normal.Bytes()
}
