package broker_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// TestRequestRate checks that a connection may send 100 requests to JetStream at once. Requests for messages do not
// count.
func TestRequestRate(t *testing.T) {
	t.Parallel()
	info := "PUB $JS.API.STREAM.INFO.CHANGES _INBOX.a 0\r\n\r\n"
	next := "PUB $JS.API.CONSUMER.MSG.NEXT.CHANGES.mine _INBOX.a 1\r\n1\r\n"
	before, after := broker.RequestsLeft([]byte(strings.Repeat(info, 3) + strings.Repeat(next, 5)))
	if before != 100 || after != 97 {
		t.Errorf("requests left: %d, then %d; want 100, then 97", before, after)
	}
}

// TestLogOfClients checks that only few lines about clients are logged, and only the beginning of each, and that all
// others are logged.
func TestLogOfClients(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var broken error
	log := broker.NewServerLog(slog.New(slog.NewTextHandler(&out, nil)), func(err error) {
		broken = errors.Join(broken,
			err)
	})
	for range 10_000 {
		log.Errorf("pipe - cid:7 - %s", strings.Repeat("x", 3000))
	}
	if lines := strings.Count(out.String(), "\n"); lines < 1 || lines > 5000 || out.Len() > 500*lines {
		t.Errorf("logged %d lines with %d bytes, want at most 5000 lines of 500 bytes", lines, out.Len())
	}
	out.Reset()
	for range 1000 {
		log.Warnf("a line about the server")
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1000 {
		t.Errorf("logged %d lines about the server, want 1000", lines)
	}
	if broken != nil {
		t.Errorf("reported as broken: %v, want nil", broken)
	}
}
