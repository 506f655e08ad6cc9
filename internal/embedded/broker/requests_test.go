package broker_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// TestRequestsAreCounted: a connection has 100 requests to JetStream at once. Requests for messages do not count.
func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	info := "PUB $JS.API.STREAM.INFO.CHANGES _INBOX.a 0\r\n\r\n"
	next := "PUB $JS.API.CONSUMER.MSG.NEXT.CHANGES.mine _INBOX.a 1\r\n1\r\n"
	before, after := broker.RequestsLeft([]byte(strings.Repeat(info, 3) + strings.Repeat(next, 5)))
	if before != 100 || after != 97 {
		t.Errorf("requests left: %d, then %d; want 100, then 97", before, after)
	}
}

// TestClientsCannotFloodTheLog: of the lines about what clients do wrong, few are logged, and the beginning of each.
// Others are all logged, and those that tell of broken streams are noticed.
func TestClientsCannotFloodTheLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var broken error
	log := broker.NewServerLog(slog.New(slog.NewTextHandler(&out, nil)), func(err error) { broken = errors.Join(broken, err) })
	for range 10_000 {
		log.Errorf("pipe - cid:7 - %s", strings.Repeat("x", 3000))
	}
	if lines := strings.Count(out.String(), "\n"); lines < 1 || lines > 5000 || out.Len() > 500*lines {
		t.Errorf("%d lines with %d bytes of 10000 lines with 30 MB", lines, out.Len())
	}
	out.Reset()
	for range 1000 {
		log.Warnf("something of the server's own")
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1000 {
		t.Errorf("%d lines of the server's own are logged, want 1000", lines)
	}
	if broken != nil {
		t.Errorf("broken: %v", broken)
	}
}
