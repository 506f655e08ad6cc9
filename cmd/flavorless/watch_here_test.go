package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func TestWatchHere(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	w := startWatch(t, "--data", p.dir, "--person", "andy")
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\nbill,lemon\n")
	if line := w.line(); !strings.HasSuffix(line, "created  andy: vanilla") {
		t.Errorf("shown: %s", line)
	}
	p.put("uploads/b.csv", "person,flavor,action\nandy,,remove\nbill,mint,\n")
	if line := w.line(); !strings.HasSuffix(line, "removed  andy, whose favorite was vanilla") {
		t.Errorf("shown: %s", line)
	}
	if code, rest := w.end(syscall.SIGTERM); code != exitOK || rest != "" {
		t.Errorf("exit code %d, and more: %s", code, rest)
	}
	t.Run("since", func(t *testing.T) {
		w := startWatch(t, "--data", p.dir, "--since", "1h", "--kind", "removed,changed", "--count", "2", "--json")
		for range 2 {
			line := w.line()
			if !strings.Contains(line, `"kind":"removed","person":"andy","flavor":null`) && !strings.Contains(line, `"kind":"changed","person":"bill","flavor":"mint"`) {
				t.Errorf("shown: %s", line)
			}
		}
		if code, rest := w.end(nil); code != exitOK || rest != "" {
			t.Errorf("exit code %d, and more: %s", code, rest)
		}
	})
	t.Run("by the environment", func(t *testing.T) {
		var vars map[string]string
		if err := json.Unmarshal([]byte(command(t, "", "env", "--json", "--data", p.dir).out), &vars); err != nil {
			t.Fatal(err)
		}
		for name, value := range vars {
			t.Setenv(name, value)
		}
		if code, rest := startWatch(t, "--since", "1h", "--kind", "created", "--count", "2").end(nil); code != exitOK || strings.Count(rest, "created") != 2 {
			t.Errorf("exit code %d, and %s", code, rest)
		}
		t.Setenv("FLAVORLESS_NATS_URL", "")
		if got := command(t, "", "watch"); got.code != exitUsage || !strings.Contains(got.err, "FLAVORLESS_NATS_URL") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("nothing comes", func(t *testing.T) {
		start := time.Now()
		if code, rest := startWatch(t, "--data", p.dir, "--timeout", "300ms").end(nil); code != exitOK || rest != "" || time.Since(start) < 300*time.Millisecond {
			t.Errorf("exit code %d after %s, and %s", code, time.Since(start), rest)
		}
	})
	t.Run("through a restart", func(t *testing.T) {
		w := startWatch(t, "--data", p.dir, "--person", "zoe")
		p.put("uploads/c.csv", "person,flavor\nzoe,lemon\n")
		if line := w.line(); !strings.HasSuffix(line, "created  zoe: lemon") {
			t.Errorf("shown: %s", line)
		}
		p.kill()
		p = startServe(t, p.dir, "--nats", strings.TrimPrefix(p.info.NATS, "nats://"))
		p.put("uploads/d.csv", "person,flavor\nzoe,fudge\n")
		if line := w.line(); !strings.HasSuffix(line, "changed  zoe: fudge, no longer lemon") {
			t.Errorf("shown: %s", line)
		}
		if code, rest := w.end(syscall.SIGTERM); code != exitOK || !strings.Contains(rest, "the server is gone") {
			t.Errorf("exit code %d, and %s", code, rest)
		}
	})
}

func TestRecently(t *testing.T) {
	var r recently[int]
	for i := range 3 * generation {
		if !r.add(i) || r.add(i) || i > 0 && r.add(max(0, i-generation+1)) {
			t.Fatalf("at %d", i)
		}
	}
	if n := len(r.young) + len(r.old); n > 2*generation {
		t.Errorf("it remembers %d", n)
	}
}

// TestWatchForbidden: a server that forbids the subscription refuses it at once.
func TestWatchForbidden(t *testing.T) {
	for name, denied := range map[string]string{"create": "$JS.API.CONSUMER.CREATE.>", "all": ">"} {
		t.Run(name, func(t *testing.T) {
			user := &server.User{Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{denied}}}}
			s, err := server.NewServer(&server.Options{
				Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), Users: []*server.User{user}, NoSigs: true, NoLog: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			defer s.Shutdown()
			if !s.ReadyForConnections(time.Minute) {
				t.Fatal("the server does not start")
			}
			t.Setenv("FLAVORLESS_URL", "http://127.0.0.1:1")
			t.Setenv("FLAVORLESS_NATS_URL", "nats://u:p@"+s.Addr().String())
			if got := command(t, "", "watch"); got.code != exitUsage || !strings.Contains(got.err, "is not allowed") {
				t.Errorf("%+v", got)
			}
		})
	}
}
