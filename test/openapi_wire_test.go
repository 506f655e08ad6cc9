package test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/flavorless/flavorless/internal/testutil"
)

// answer is a response with its body, decompressed.
type answer struct {
	*http.Response
	body   []byte
	stream bool // body is the beginning of an event stream
}

const (
	answerTime = testutil.Timeout
	streamTime = 10 * time.Millisecond // how long a stream is read
	maxBody    = 16 << 20
	maxHeader  = 32 << 10 // the server reads at least that much
)

// exchange sends raw bytes and reads one response. It returns nil if the server closes the connection instead.
func (d *documented) exchange(raw []byte) (*answer, error) {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(d.server.Info().API, "http://"), answerTime)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	_, bad := parse(raw)
	if _, err := conn.Write(raw); err != nil {
		return nil, hangUp(bad, raw, err)
	}
	method, _, _ := strings.Cut(strings.TrimLeft(string(raw[:min(len(raw), 100)]), "\r\n"), " ")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	for err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(in, &http.Request{Method: method})
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && in.Buffered() == 0 {
		return nil, nil // net/http closes the connection for what is not HTTP
	}
	if err != nil {
		return nil, hangUp(bad, raw, fmt.Errorf("reading the response: %w", err))
	}
	a := &answer{Response: res, stream: strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")}
	if a.stream {
		if err := conn.SetReadDeadline(time.Now().Add(streamTime)); err != nil {
			return nil, err
		}
		a.body, _ = io.ReadAll(io.LimitReader(res.Body, maxBody))
		return a, nil
	}
	ownResponse := res.Header.Get("X-Content-Type-Options") == "" // of net/http, which waits before closing
	if res.ContentLength < 0 && res.Close && ownResponse {
		a.body, _ = in.Peek(in.Buffered())
		return a, nil
	}
	var body io.Reader = res.Body
	if res.Header.Get("Content-Encoding") == "gzip" && method != http.MethodHead {
		if body, err = gzip.NewReader(body); err != nil {
			return nil, err
		}
	}
	if a.body, err = io.ReadAll(io.LimitReader(body, maxBody)); err != nil {
		return nil, hangUp(bad, raw, fmt.Errorf("reading the body of the response: %w", err))
	}
	return a, nil
}

// hangUp returns err, or nil if the request is malformed or too long and the server closed the connection before all
// of it was sent. The response is lost then.
func hangUp(malformed error, raw []byte, err error) error {
	closed := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	if closed && (malformed != nil || len(raw) > maxHeader) {
		return nil //nolint:nilerr // see above
	}
	return err
}

// request is a request that was drawn, or raw bytes.
type request struct {
	method, target, version string
	headers                 [][2]string
	body                    string
	raw                     []byte
}

func (r request) String() string {
	text := string(r.wire())
	text = tokenPattern.ReplaceAllStringFunc(text, func(token string) string { return "…" + token[len(token)-5:] })
	return fmt.Sprintf("%.1000q", text)
}

// tokenPattern matches a JWT, which is too long to print.
var tokenPattern = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)

func (r request) wire() []byte {
	if r.raw != nil {
		return r.raw
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", r.method, r.target, r.version)
	for _, h := range r.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n" + r.body)
	return b.Bytes()
}

var hostHeader = regexp.MustCompile(`(?im)^host:[ \t]*(.*?)[ \t]*$`)

// parse parses a request as net/http does, and returns an error if net/http refuses it.
func parse(raw []byte) (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		invalid := func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }
		if !httpguts.ValidHeaderFieldName(name) || slices.ContainsFunc(values, invalid) {
			return nil, fmt.Errorf("header %q is invalid", name)
		}
	}
	head, _, _ := bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	hosts := hostHeader.FindAllSubmatch(head, -1) // http.ReadRequest removes them from the header
	for _, host := range hosts {
		if !httpguts.ValidHostHeader(string(host[1])) {
			return nil, errors.New("the host is invalid")
		}
	}
	switch expect := r.Header.Get("Expect"); {
	case len(hosts) > 1, len(hosts) == 0 && r.ProtoAtLeast(1, 1) && r.Method != http.MethodConnect:
		return nil, errors.New("there is no host, or more than one")
	case expect != "" && !strings.EqualFold(expect, "100-continue"):
		return nil, errors.New("the expectation is unknown")
	case r.ProtoMajor != 1:
		return nil, errors.New("the version is not HTTP/1")
	}
	if _, err := url.ParseRequestURI(r.RequestURI); err != nil && r.Method != http.MethodConnect {
		return nil, err
	}
	return r, nil
}
