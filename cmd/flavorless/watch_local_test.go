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

func TestWatchLocal(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	w := startWatch(t, "--data", p.dir, "--person", "andy")
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\nbill,lemon\n")
	if line := w.line(); !strings.HasSuffix(line, "created  andy: vanilla") {
		t.Errorf("watch prints %q, want the change", line)
	}
	p.put("uploads/b.csv", "person,flavor,action\nandy,,remove\nbill,mint,\n")
	if line := w.line(); !strings.HasSuffix(line, "removed  andy, whose favorite was vanilla") {
		t.Errorf("watch prints %q, want the change", line)
	}
	w.wantEnd(syscall.SIGTERM)
	t.Run("since", func(t *testing.T) {
		w := startWatch(t, "--data", p.dir, "--since", "1h", "--kind", "removed,changed", "--count", "2", "--json")
		for range 2 {
			line := w.line()
			if !strings.Contains(line, `"kind":"removed","person":"andy","flavor":null`) &&
				!strings.Contains(line, `"kind":"changed","person":"bill","flavor":"mint"`) {
				t.Errorf("watch prints %q, want the change", line)
			}
		}
		w.wantEnd(nil)
	})
	t.Run("by the environment", func(t *testing.T) {
		var vars map[string]string
		if err := json.Unmarshal([]byte(command(t, "", "env", "--json", "--data", p.dir).out), &vars); err != nil {
			t.Fatal(err)
		}
		for name, value := range vars {
			t.Setenv(name, value)
		}
		if code, rest := startWatch(t, "--since", "1h", "--kind", "created", "--count", "2").end(nil); code != exitOK ||
			strings.Count(rest, "created") != 2 {
			t.Errorf("exit code of watch = %d with the output %q, want %d with output", code, rest, exitOK)
		}
		t.Setenv("FLAVORLESS_NATS_URL", "")
		command(t, "", "watch").wantErr(t, exitUsage, "FLAVORLESS_NATS_URL")
	})
	t.Run("no change", func(t *testing.T) {
		start := time.Now()
		if code, rest := startWatch(t, "--data", p.dir, "--timeout", "300ms").end(nil); code != exitOK || rest != "" ||
			time.Since(start) < 300*time.Millisecond {
			t.Errorf("watch ends with %d after %s and prints %q, want %d after 300ms without output", code, time.Since(start),
				rest, exitOK)
		}
	})
	t.Run("through a restart", func(t *testing.T) {
		w := startWatch(t, "--data", p.dir, "--person", "zoe")
		p.put("uploads/c.csv", "person,flavor\nzoe,lemon\n")
		if line := w.line(); !strings.HasSuffix(line, "created  zoe: lemon") {
			t.Errorf("watch prints %q, want the change", line)
		}
		p.kill()
		p = startServe(t, p.dir, "--nats", strings.TrimPrefix(p.info.NATS, "nats://"))
		p.put("uploads/d.csv", "person,flavor\nzoe,fudge\n")
		if line := w.line(); !strings.HasSuffix(line, "changed  zoe: fudge, no longer lemon") {
			t.Errorf("watch prints %q, want the change", line)
		}
		if code, rest := w.end(syscall.SIGTERM); code != exitOK || rest == "" {
			t.Errorf("exit code of watch = %d with the output %q, want %d with output", code, rest, exitOK)
		}
	})
}

// TestWatchDeletesItsConsumer: watch deletes its consumer at its end, and fails with a plain reason if there are too
// many.
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
			t.Errorf("%s: exit code of watch = %d, want %d; output %q", name, code, exitOK, rest)
		}
		if got := consumers(); got != 0 {
			t.Errorf("%s: %d consumers remain, want 0", name, got)
		}
	}
	for n := range 256 {
		if n%64 == 0 { // the number of requests per connection is limited
			if nc, err = nats.Connect(p.info.NATS, nats.UserInfo(p.info.NATSUser, p.info.NATSPassword)); err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if js, err = jetstream.New(nc); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := js.CreateConsumer(t.Context(), "CHANGES",
			jetstream.ConsumerConfig{Durable: fmt.Sprint("d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	got := command(t, "", "watch", "--data", p.dir)
	if got.code != exitFailed || !strings.Contains(got.err, "too many NATS clients") ||
		strings.Contains(got.err, "err_code") {
		t.Errorf("watch with 256 other consumers = %+v, want exit code %d and a plain reason", got, exitFailed)
	}
}

func TestRecentSet(t *testing.T) {
	var r recentSet[int]
	for i := range 3 * generationSize {
		if !r.add(i) || r.add(i) || i > 0 && r.add(max(0, i-generationSize+1)) {
			t.Fatalf("add(%d): want true the first time, and false for this and recent values", i)
		}
	}
	if n := len(r.current) + len(r.previous); n > 2*generationSize {
		t.Errorf("the set has %d values, want at most %d", n, 2*generationSize)
	}
}

// TestWatchForbidden: watch fails at once if the server denies the subscription.
func TestWatchForbidden(t *testing.T) {
	for name, denied := range map[string]string{"create": "$JS.API.CONSUMER.CREATE.>", "all": ">"} {
		t.Run(name, func(t *testing.T) {
			user := &server.User{Username: "u", Password: "p",
				Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{denied}}}}
			s, err := server.NewServer(&server.Options{
				Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), Users: []*server.User{user},
				NoSigs: true, NoLog: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			defer s.Shutdown()
			if !s.ReadyForConnections(time.Minute) {
				t.Fatal("ReadyForConnections = false after a minute, want true")
			}
			t.Setenv("FLAVORLESS_URL", "http://127.0.0.1:1")
			t.Setenv("FLAVORLESS_NATS_URL", "nats://u:p@"+s.Addr().String())
			command(t, "", "watch").wantErr(t, exitUsage, "permission")
		})
	}
}
