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

// entries reads a log of which each line has to be a JSON object with time, level and message.
func entries(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["time"] == nil || entry["level"] == nil || entry["msg"] == nil {
			t.Errorf("not an entry: %q, error %v", line, err)
		}
		all = append(all, entry)
	}
	return all
}

func has(entries []map[string]any, name, value string) bool {
	for _, e := range entries {
		if strings.Contains(fmt.Sprint(e[name]), value) {
			return true
		}
	}
	return false
}

// TestLogJSON: whatever happens, each line of the log is JSON, and none has a secret.
func TestLogJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, dir, "--log-json", "--verbose")
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\nbill,\n")
	p.settled("uploads/a.csv")
	p.put("uploads/b.json", `{"andy": "`)
	p.settled("uploads/b.json")
	p.team()

	// What the servers complain about.
	if nc, err := nats.Connect(p.info.NATS, nats.UserInfo(p.info.NATSUser, "wrong")); err == nil {
		nc.Close()
		t.Error("a wrong password will do")
	}
	for _, url := range []string{p.info.API, p.info.S3} {
		for _, request := range []string{"\x16\x03\x01\x02\x00", "GET /team HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + p.token + "x\r\nConnection: close\r\n\r\n", "no request\r\n\r\n"} {
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
		t.Errorf("%v, error %v", res, err)
	}

	second := startFailing(t, dir, "--log-json")
	if got := entries(t, second); len(got) != 1 || !has(got, "error", "another flavorless is using it") {
		t.Errorf("of a second server: %s", second)
	}
	if code := p.stopped(); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	log := p.log.String()
	got := entries(t, log)
	for _, msg := range []string{"settled", "applied", "nats server", "request refused"} {
		if !has(got, "msg", msg) {
			t.Errorf("nothing is said of %q:\n%s", msg, log)
		}
	}
	for name, secret := range map[string]string{
		"secret key": p.info.SecretKey, "NATS password": p.info.NATSPassword, "control": p.info.Control, "token": p.token, "half a token": p.token[:len(p.token)/2],
	} {
		if secret == "" || strings.Contains(log, secret) {
			t.Errorf("the %s %q is in the log", name, secret)
		}
	}
}

// startFailing starts a server that has to end with exitUsage, and gives its log.
func startFailing(t *testing.T, dir string, args ...string) string {
	t.Helper()
	got := command(t, "", append([]string{"serve", "--data", dir, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, args...)...)
	if got.code != exitUsage {
		t.Errorf("exit code %d", got.code)
	}
	return got.err
}

// TestCaptureStderr: what others print becomes entries, too.
func TestCaptureStderr(t *testing.T) {
	var b bytes.Buffer
	restore, err := captureStderr(slog.New(slog.NewJSONHandler(&b, nil)))
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	fmt.Fprint(os.Stderr, "\x1b[31m[PANIC]: ouch\x1b[0m\nand no end")
	restore()
	if os.Stderr == before {
		t.Error("it is not restored")
	}
	log.Print("by the standard logger")
	got := entries(t, b.String())
	for name, value := range map[string]string{"[PANIC]: ouch": "line", "and no end": "line", "by the standard logger": "msg"} {
		if !has(got, value, name) {
			t.Errorf("nothing of %q in %s", name, b.String())
		}
	}
}
