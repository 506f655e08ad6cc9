package gateway

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// checkChunks has the framing of a body in chunks checked as it is read: versitygw's reader of signed chunks panics on a
// negative size, and its reader of unsigned ones keeps a trailer in memory however long it is.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
func checkChunks(c fiber.Ctx) error {
	payload := c.Get("X-Amz-Content-Sha256")
	if length := c.Get("X-Amz-Decoded-Content-Length"); length != "" {
		if n, err := strconv.ParseInt(length, 10, 64); err != nil || n < 0 {
			return badName("x-amz-decoded-content-length", length, "The length is not a number of bytes.")
		}
	}
	body := c.Request().BodyStream()
	if !strings.HasPrefix(payload, "STREAMING-") || body == nil {
		return nil
	}
	head := unsignedChunk
	if strings.HasPrefix(payload, "STREAMING-AWS4-") {
		head = signedChunk
	}
	utils.ContextKeyBodyReader.Set(c, io.Reader(&chunks{body: body, head: head}))
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
	body io.Reader
	head *regexp.Regexp

	line  []byte // of the head that is being read
	data  int64  // bytes left of the chunk
	end   int    // bytes left of the line end after it
	last  bool   // only the trailer follows
	trail int    // bytes of the trailer
	err   error
}

// errChunks is what S3 answers.
var errChunks = s3err.GetAPIError(s3err.ErrIncompleteBody)

// Read returns nothing of what it has read when the framing is broken: versitygw must not see any of it.
func (c *chunks) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.body.Read(p)
	if broken := c.follow(p[:n]); broken != nil {
		c.err = broken
		return 0, broken
	}
	return n, err //nolint:wrapcheck // the body's own, io.EOF among them
}

func (c *chunks) follow(p []byte) error {
	for len(p) > 0 {
		switch {
		case c.last:
			if c.trail += len(p); c.trail > maxTrailer {
				return errChunks
			}
			return nil
		case c.data > 0:
			n := min(c.data, int64(len(p)))
			c.data -= n
			p = p[n:]
		case c.end > 0:
			if p[0] != "\n\r"[c.end-1] {
				return errChunks
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
			if err := c.begin(); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin starts a chunk once the line before it is complete.
func (c *chunks) begin() error {
	if len(c.line) > maxChunkHead {
		return errChunks
	}
	if !bytes.HasSuffix(c.line, []byte("\n")) {
		return nil
	}
	head := c.head.FindSubmatch(c.line)
	if head == nil {
		return errChunks
	}
	size, err := strconv.ParseInt(string(head[1]), 16, 64)
	if err != nil {
		return errChunks
	}
	c.line, c.data, c.end, c.last = c.line[:0], size, 2, size == 0
	return nil
}
