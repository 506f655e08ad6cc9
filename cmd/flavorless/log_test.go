package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/internal/local/control"
)

// entries parses a log. Each line must be a JSON object with a time, a level and a message.
func entries(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["time"] == nil || entry["level"] == nil ||
			entry["msg"] == nil {
			t.Errorf("log line %q (%v), want a JSON object with time, level and msg", line, err)
		}
		all = append(all, entry)
	}
	return all
}

// has reports whether an attribute of an entry contains a text.
func has(entries []map[string]any, name, value string) bool {
	for _, e := range entries {
		if strings.Contains(fmt.Sprint(e[name]), value) {
			return true
		}
	}
	return false
}

// TestLogJSON: each line of the log is JSON, and none contains a secret.
func TestLogJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, dir, "--log-json", "--verbose")
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\nbill,\n")
	p.settled("uploads/a.csv")
	p.put("uploads/b.json", `{"andy": "`)
	p.settled("uploads/b.json")
	p.team()

	// Make the servers log warnings.
	if nc, err := nats.Connect(p.info.NATS, nats.UserInfo(p.info.NATSUser, "wrong")); err == nil {
		nc.Close()
		t.Error("nats.Connect with a wrong password = nil, want an error")
	}
	for _, url := range []string{p.info.API, p.info.S3} {
		for _, request := range []string{"\x16\x03\x01\x02\x00",
			"GET /team HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + p.token + "x\r\nConnection: close\r\n\r\n",
			"no request\r\n\r\n"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.info.API+control.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.info.Control)
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("GET %s = %v, %v; want 200", control.Path, res, err)
	}

	second := startFailing(t, dir, "--log-json")
	if got := entries(t, second); len(got) != 1 || !has(got, "error", "--data") {
		t.Errorf("log of a second server = %s, want one entry about the folder that is in use", second)
	}
	if code := p.stopped(); code != exitOK {
		t.Fatalf("exit code of serve = %d, want %d", code, exitOK)
	}
	log := p.log.String()
	got := entries(t, log)
	for _, msg := range []string{"settled", "applied", "NATS server", "request refused"} {
		if !has(got, "msg", msg) {
			t.Errorf("the log has no message %q, want one:\n%s", msg, log)
		}
	}
	for name, secret := range map[string]string{
		"secret key": p.info.SecretKey, "NATS password": p.info.NATSPassword, "control": p.info.Control, "token": p.token,
		"half of the token": p.token[:len(p.token)/2],
	} {
		if secret == "" || strings.Contains(log, secret) {
			t.Errorf("the log contains the %s %q, want no secrets", name, secret)
		}
	}
}

// startFailing starts a server that must end with exitUsage, and returns its log.
func startFailing(t *testing.T, dir string, args ...string) string {
	t.Helper()
	got := command(t, "", append([]string{"serve", "--data", dir, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats",
		"127.0.0.1:0"}, args...)...)
	if got.code != exitUsage {
		t.Errorf("exit code of serve = %d, want %d", got.code, exitUsage)
	}
	return got.err
}

// TestCaptureStderr: text that libraries print becomes log entries.
func TestCaptureStderr(t *testing.T) {
	var b bytes.Buffer
	restore, err := captureStderr(slog.New(slog.NewJSONHandler(&b, nil)))
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	fmt.Fprint(os.Stderr, "\x1b[31m[PANIC]: ouch\x1b[0m\nunfinished line")
	restore()
	if os.Stderr == before {
		t.Error("os.Stderr is unchanged after restore, want the original one")
	}
	log.Print("by the standard logger")
	got := entries(t, b.String())
	for name, value := range map[string]string{"[PANIC]: ouch": "line", "unfinished line": "line",
		"by the standard logger": "msg"} {
		if !has(got, value, name) {
			t.Errorf("log = %s, want an entry with %q", b.String(), name)
		}
	}
}
