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

// checkChunks has the framing of a body in chunks checked as it is read: versitygw's reader of signed chunks panics on a
// negative size, its reader of unsigned ones keeps a trailer in memory however long it is, and neither of them refuses more
// data than was announced.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
func checkChunks(c fiber.Ctx) error {
	payload := c.Get("X-Amz-Content-Sha256")
	announced := int64(-1) // unknown, which versitygw refuses
	if length := c.Get("X-Amz-Decoded-Content-Length"); length != "" {
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil || n < 0 {
			return badName("x-amz-decoded-content-length", length, "The length is not a number of bytes.")
		}
		announced = n
	}
	if !strings.HasPrefix(payload, "STREAMING-") {
		return nil
	}
	if strings.HasPrefix(payload, "STREAMING-AWS4-ECDSA-") {
		return notImplemented("Chunks signed with ECDSA are not supported. Sign them with AWS4-HMAC-SHA256.")
	}
	if isPresigned(c) { // versitygw would store the framing
		return badName("x-amz-content-sha256", payload, "A presigned URL does not take a body in chunks. Leave out the header.")
	}
	body := c.Request().BodyStream()
	if body == nil {
		return nil
	}
	head := unsignedChunk
	if strings.HasPrefix(payload, "STREAMING-AWS4-") {
		head = signedChunk
	}
	utils.ContextKeyBodyReader.Set(c, io.Reader(&chunks{body: body, head: head, announced: announced}))
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

// chunks passes a body on, and ends with an error where it is not made of chunks.
type chunks struct {
	body      io.Reader
	head      *regexp.Regexp
	announced int64 // bytes of data still to come; negative if not known

	line    []byte        // of the head that is being read
	data    int64         // bytes left of the chunk
	end     int           // bytes left of the line end after it
	trailer *bytes.Reader // what follows the head of the last chunk, from then on
	err     error
}

// errChunks is what S3 answers.
var errChunks = s3err.GetAPIError(s3err.ErrIncompleteBody)

// errTooMuch is the answer to a body that is longer than its announced length.
var errTooMuch = s3err.GetAPIError(s3err.ErrContentLengthMismatch)

// Read returns nothing of what it has read when the framing is broken: versitygw must not see any of it.
func (c *chunks) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.trailer != nil {
		return c.readTrailer(p)
	}
	n, err := c.body.Read(p)
	rest, broken := c.follow(p[:n])
	if broken == nil && c.trailer == nil && cutOff(err) {
		broken = errChunks // the last chunk is missing
	}
	if broken != nil {
		c.err = broken
		return 0, broken
	}
	if c.trailer != nil {
		return n - rest, nil
	}
	return n, err //nolint:wrapcheck // the body's own
}

// cutOff reports whether a body has ended. versitygw takes a connection that broke off for the end of its data, and would
// not miss the trailer.
func cutOff(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// readTrailer passes the trailer on. The end has to come with its last bytes: versitygw compares lengths only then.
func (c *chunks) readTrailer(p []byte) (int, error) {
	n, err := c.trailer.Read(p)
	if c.trailer.Len() == 0 {
		err = io.EOF
	}
	return n, err //nolint:wrapcheck // the end
}

// follow reads the framing in p. It returns how many bytes at the end of p belong to the trailer.
func (c *chunks) follow(p []byte) (rest int, err error) {
	for len(p) > 0 {
		switch {
		case c.data > 0:
			n := min(c.data, int64(len(p)))
			c.data -= n
			p = p[n:]
		case c.end > 0:
			if p[0] != "\n\r"[c.end-1] {
				return 0, errChunks
			}
			c.end--
			p = p[1:]
		default:
			n := bytes.IndexByte(p, '\n') + 1
			if n == 0 {
				n = len(p)
			}
			c.line = append(c.line, p[:min(n, maxChunkHead)]...)
			p = p[n:]
			last, err := c.begin()
			if err != nil {
				return 0, err
			}
			if last {
				return len(p), c.collect(p)
			}
		}
	}
	return 0, nil
}

// begin starts a chunk once the line before it is complete. It reports whether that chunk is the last one, which is empty.
func (c *chunks) begin() (last bool, err error) {
	if len(c.line) > maxChunkHead {
		return false, errChunks
	}
	if !bytes.HasSuffix(c.line, []byte("\n")) {
		return false, nil
	}
	head := c.head.FindSubmatch(c.line)
	if head == nil {
		return false, errChunks
	}
	size, err := strconv.ParseInt(string(head[1]), 16, 64)
	if err != nil {
		return false, errChunks
	}
	if c.announced >= 0 {
		if size > c.announced {
			return false, errTooMuch
		}
		c.announced -= size
	}
	c.line, c.data, c.end = c.line[:0], size, 2
	return size == 0, nil
}

// collect reads the trailer, of which the first bytes are known, to its end.
func (c *chunks) collect(first []byte) error {
	raw, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(first), c.body), maxTrailer+1))
	if cutOff(err) || len(raw) > maxTrailer {
		return errChunks
	}
	if err != nil {
		return err //nolint:wrapcheck // the body's own
	}
	c.trailer = bytes.NewReader(plainTrailer(raw))
	return nil
}

// plainTrailer writes a trailer in the one form that versitygw reads: names in lower case, no space around values, lines that
// end in CR LF, and an empty line at the end. AWS's examples, and the clients that follow them, end values in LF CR LF.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
func plainTrailer(raw []byte) []byte {
	var plain bytes.Buffer
	for line := range bytes.Lines(raw) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if name, value, found := bytes.Cut(line, []byte(":")); found {
			line = slices.Concat(bytes.ToLower(bytes.TrimSpace(name)), []byte(":"), bytes.TrimSpace(value))
		}
		plain.Write(line)
		plain.WriteString("\r\n")
	}
	plain.WriteString("\r\n")
	return plain.Bytes()
}
