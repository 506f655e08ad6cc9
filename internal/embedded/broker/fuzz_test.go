package broker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// FuzzManifest checks that a manifest of any content is accepted only if each file is at least as large as it says.
func FuzzManifest(f *testing.F) {
	block := filepath.Join("jetstream", "FLAVORLESS", "streams", "UPDATES", "msgs", "1.blk")
	f.Add([]byte(`{"`+filepath.ToSlash(block)+`":3}`), 3)
	f.Add([]byte(`{"`+filepath.ToSlash(block)+`":4}`), 3)
	f.Add([]byte(`{"`+filepath.ToSlash(block)+`":-1,"../../x":5}`), 0)
	f.Add([]byte("null"), 0)
	f.Add([]byte(`{"a":1e9}`), 0)
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, block)), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte, size int) {
		size = min(max(size, 0), 100)
		if err := os.WriteFile(broker.ManifestFile(dir), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, block), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		err := broker.CheckManifest(dir)
		var sizes map[string]int64
		want := json.Unmarshal(content, &sizes) != nil
		for path, least := range sizes {
			there := int64(0)
			if path == block {
				there = int64(size)
			}
			want = want || there < least
		}
		if want != (err != nil) {
			t.Errorf("manifest %s, file of %d bytes: %v, want an error: %t", content, size, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), broker.ManifestFile(dir)) {
			t.Errorf("error %q, want one that names %s", err, broker.ManifestFile(dir))
		}
	})
}

// FuzzMessage checks that a message either arrives with its id and attributes, or is refused permanently.
func FuzzMessage(f *testing.F) {
	f.Add("u1@14", "person", "René 🍦", []byte("{}"))
	f.Add("", "nats-rollup", "all", []byte("{}"))
	f.Add("a b", "Ce-Id", "x", []byte("{}"))
	f.Add("x", "a", " x", []byte{})
	f.Add("x\r\ny: z", "a:b", "\u0085", []byte{0xff})
	f.Fuzz(func(t *testing.T, id, name, value string, body []byte) {
		attributes := map[string]string{"type": events.UpdatesType, name: value}
		m := events.Message{ID: id, Subject: events.UpdatesType, Attributes: attributes, Body: body}
		sent, err := broker.Encode(broker.Updates, m)
		if err != nil {
			if !errors.Is(err, events.ErrPermanent) {
				t.Errorf("Encode = %v, want events.ErrPermanent", err)
			}
			return
		}
		// The headers as a client parses them from the wire.
		received := nats.Header{}
		for name, values := range sent.Header {
			for _, v := range values {
				if strings.ContainsAny(name+v, "\r\n") || strings.TrimSpace(name) != name {
					t.Errorf("header %q: %q, want one line without space around the name", name, v)
				}
				received.Add(name, strings.TrimSpace(v))
			}
		}
		gotID, got := broker.Decode(received)
		if gotID != id {
			t.Errorf("id = %q, want %q", gotID, id)
		}
		if diff := cmp.Diff(m.Attributes, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("attributes (-sent +received):\n%s", diff)
		}
	})
}

// FuzzRequests checks that the server gets operations of the protocol in canonical form, whatever a client sends:
// filtered again, they do not change. None of them makes the server send anything to a subject that is not an inbox.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		hello, "sub _INBOX.a 1\r\npub\t$JS.API.INFO _INBOX.a 0\r\n\r\n",
		"PUB $JS.API.INFO flavorless.change.v1.created 2\r\n{}\r\n",
		"HPUB $JS.API.INFO x 12 14\r\nNATS/1.0\r\n\r\n{}\r\n", "PUB $JS.API.INFO  _INBOX.a  00\r\n\r\n", "PUB\n",
		"PUB $JS.API.CONSUMER.CREATE.x 1\r\n0\r\n", "PUB a b c d\r\n", "PUB a -1\r\n", "PUB a 9999999999\r\n",
		"PUB $JS.API.CONSUMER.CREATE.CHANGES _INBOX.a 60\r\n" +
			`{"stream_name":"CHANGES","config":{"deliver_subject":"a.b.c"}}` + "\r\n",
		"PUB $JS.API.STREAM.NAMES _INBOX.a 33\r\n" + `{"subject":"flavorless.change.v1"}` + "\r\n",
		"PUB a 1\r\nxPUB b c 0\r\n\r\n", strings.Repeat("PING ", 2000) + "\r\n",
		"PUB $JS.API.STREAM.DELETE.CHANGES _INBOX.a 2\r\n{}\r\n", "PUB $JS.API.CONSUMER.DELETE.CHANGES.x _INBOX.a 0\r\n\r\n",
		"HPUB a _INBOX.a 12 14\r\nNATS/1.0\r\n\r\n{}\r\n", "PUB flavorless.delete.x _INBOX.a 2\r\n{}\r\n", "PUB a _INBOX." +
			strings.Repeat("a", 4000) + " 0\r\n\r\n",
		"+OK\r\nPING\r\n", "\r\n\nPING\n", "GET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		got := broker.FilterRequests(sent)
		if again := broker.FilterRequests(got); !bytes.Equal(got, again) {
			t.Errorf("%q is passed on as %q, and that as %q", sent, got, again)
		}
		for rest := got; len(rest) > 0; {
			line, after, ended := bytes.Cut(rest, []byte("\r\n"))
			if rest = after; !ended { // too long, so the server closes the connection
				return
			}
			args := strings.Fields(string(line))
			if args[0] != "PUB" && args[0] != "HPUB" {
				continue
			}
			if numbers := len(args[0]) - 2; len(args) == 3+numbers && !strings.HasPrefix(args[2], "_INBOX.") {
				t.Errorf("%q is passed on as %q, with a reply elsewhere", sent, line)
			}
			if len(args) == 4 && strings.HasPrefix(args[1], "$JS.API.CONSUMER.DELETE.") {
				t.Errorf("%q is passed on as %q, which the server might answer", sent, line)
			}
			n, err := strconv.Atoi(args[len(args)-1])
			if err != nil || n > 1<<20 || n+2 > len(rest) { // the same
				return
			}
			var create server.CreateConsumerRequest
			if strings.Contains(args[1], ".CREATE") && args[0] == "PUB" && json.Unmarshal(rest[:n], &create) == nil {
				if d := create.Config.DeliverSubject; d != "" && d != "$JS.API.refused" && !strings.HasPrefix(d, "_INBOX.") {
					t.Errorf("%q is passed on with a delivery to %q", sent, d)
				}
			}
			rest = rest[n+2:]
		}
	})
}
