package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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

// TestWatchDeletesItsConsumer also checks what watch says when there can't be another consumer.
func TestWatchDeletesItsConsumer(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n")
	nc, err := nats.Connect(p.info.NATS, nats.UserInfo(p.info.NATSUser, p.info.NATSPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consumers := func() int {
		t.Helper()
		stream, err := js.Stream(t.Context(), "CHANGES")
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Consumers
	}
	for name, test := range map[string]struct {
		args []string
		by   os.Signal
	}{
		"SIGINT":  {nil, syscall.SIGINT},
		"SIGTERM": {nil, syscall.SIGTERM},
		"count":   {[]string{"--since", "1h", "--count", "1"}, nil},
		"timeout": {[]string{"--timeout", "300ms"}, nil},
	} {
		w := startWatch(t, append([]string{"--data", p.dir}, test.args...)...)
		if code, rest := w.end(test.by); code != exitOK {
			t.Errorf("%s: exit code %d, and %s", name, code, rest)
		}
		if got := consumers(); got != 0 {
			t.Errorf("%s: %d consumers remain, want 0", name, got)
		}
	}
	for n := range 256 {
		if n%64 == 0 { // each connection has a limit of requests
			if nc, err = nats.Connect(p.info.NATS, nats.UserInfo(p.info.NATSUser, p.info.NATSPassword)); err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if js, err = jetstream.New(nc); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := js.CreateConsumer(t.Context(), "CHANGES", jetstream.ConsumerConfig{Durable: fmt.Sprint("d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	got := command(t, "", "watch", "--data", p.dir)
	if got.code != exitFailed || !strings.Contains(got.err, "too many NATS clients") || strings.Contains(got.err, "err_code") {
		t.Errorf("watch beside 256 consumers: exit code %d, and %s", got.code, got.err)
	}
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
