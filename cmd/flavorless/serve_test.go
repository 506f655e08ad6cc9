package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	got := command(t, "", "demo")
	if got.code != exitOK || got.err != "" {
		t.Fatalf("demo = %+v, want exit code %d and an empty stderr", got, exitOK)
	}
	for _, want := range []string{
		"8 rows: 8 applied, 0 unchanged, 0 superseded, 0 rejected",
		"4 rows: 3 applied, 0 unchanged, 0 superseded, 1 rejected",
		"not_a_string",
		"created  andy: cookie dough",
		"changed  andy: rocky road, no longer cookie dough",
		"removed  shane, whose favorite was rocky road",
		"created  zoë: stracciatella",
		`"flavor":"rocky road"`,
		"404 Not Found",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("the output of demo lacks %q:\n%s", want, got.out)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("the demo leaves %v (%v), want no files", left, err)
	}
}

// TestDemoEnds: the demo deletes its folder when its output or the terminal is closed.
func TestDemoEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines int
		args  []string
		by    os.Signal // nil: close its output instead
	}{
		{"at the first line", 1, nil, nil},
		{"in the middle", 15, nil, nil},
		{"kept", 30, []string{"--keep"}, nil},
		{"terminal closed", 1, nil, syscall.SIGHUP},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			c := exec.CommandContext(t.Context(), os.Args[0], append([]string{"demo"}, test.args...)...)
			c.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+dir)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for range test.lines {
				lines.Scan()
			}
			if test.by == nil {
				err = out.Close()
			} else {
				err = c.Process.Signal(test.by)
				go io.Copy(io.Discard, out) //nolint:errcheck // keeps the process from blocking
			}
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Process.Wait()
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("the demo leaves %v (%v), want no files", left, err)
			}
		})
	}
}

// TestFirstLine: demo and serve print a line before they start anything slow.
func TestFirstLine(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	commandUntil(stopped, "", "demo").wantOut(t, exitFailed, os.Getenv("TMPDIR"))
	file := writeFile(t, "not-a-folder", "")
	command(t, "", "serve", "--data", file).wantOut(t, exitUsage, file)
}

// TestRestart: a server that is started again on its data folder continues where it stopped.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, dir)
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\nbill,\n")
	before := p.settled("uploads/a.csv")
	token, info := p.token, p.info
	if code := p.stopped(); code != exitOK {
		t.Fatalf("exit code after SIGTERM = %d, want %d", code, exitOK)
	}
	command(t, "", "team", "--data", dir).wantErr(t, exitUsage, "flavorless serve")

	p = startServe(t, dir)
	if p.info.AccessKey != info.AccessKey || p.info.SecretKey != info.SecretKey ||
		p.info.NATSPassword != info.NATSPassword {
		t.Error("the credentials have changed, want the same ones")
	}
	p.token = token
	if got := p.team(); len(got) != 1 || got["andy"] != "vanilla" {
		t.Errorf("team = %v, want andy with vanilla", got)
	}
	after := p.settled("uploads/a.csv")
	if before.ID != after.ID || !before.Settled.Equal(after.Settled) {
		t.Errorf("upload = %+v, want %+v", after, before)
	}
	uploads, err := p.recent(t.Context(), 10)
	if err != nil || len(uploads) != 1 {
		t.Errorf("%d uploads (%v), want 1, because the file must not be ingested again", len(uploads), err)
	}
}

// TestKilledAfterUpload: an upload that was answered with 200 is ingested even if the process is killed right after it.
func TestKilledAfterUpload(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for i := range rounds {
		p := startServe(t, dir)
		key, person := "uploads/"+string(rune('a'+i))+".ndjson", string(rune('a'+i))
		p.put(key, `{"person":"`+person+`","flavor":"vanilla"}`)
		p.kill()
		p = startServe(t, dir)
		if u := p.settled(key); u.Status != events.Live || u.Counts.Rows != 1 {
			t.Fatalf("upload = %+v, want it live with 1 row", u)
		}
		if got := p.team(); len(got) != i+1 || got[person] != "vanilla" {
			t.Fatalf("round %d: team = %v, want %d people, and %s with vanilla", i, got, i+1, person)
		}
		p.kill()
	}
}

// TestKilledInTheMiddle: a server that is killed several times while it applies and announces ends with every row in
// the table, correct counts, and every change in the stream.
func TestKilledInTheMiddle(t *testing.T) {
	testutil.SkipIfShort(t)
	const people = 15_000
	name := strings.Repeat(" of a long name", 6) // makes several batches
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, dir)
	for _, flavor := range []string{"vanilla", "mint"} {
		var text strings.Builder
		text.WriteString("person,flavor\n")
		for i := range people {
			fmt.Fprintf(&text, "person %d%s,%s\n", i, name, flavor)
		}
		p.put("uploads/"+flavor+".csv", text.String())
	}
	for range 4 {
		p.progress()
		p.kill()
		p = startServe(t, dir)
	}
	for _, key := range []string{"uploads/vanilla.csv", "uploads/mint.csv"} {
		if u := p.settled(key); u.Status != events.Live || u.Counts.Rows != people || u.Counts.Rejected != 0 {
			t.Fatalf("upload = %+v, want it live with %d rows and no rejected ones", u, people)
		}
	}
	got := p.command("team", "--json")
	var team map[string]string
	if err := json.Unmarshal([]byte(got.out), &team); err != nil {
		t.Fatal(err)
	}
	if len(team) != people {
		t.Fatalf("the team has %d people, want %d", len(team), people)
	}
	for person, flavor := range team {
		if flavor != "mint" { // the later upload
			t.Fatalf("flavor of %s = %s, want mint", person, flavor)
		}
	}
	if diff := cmp.Diff(team, p.foldedChanges(team)); diff != "" {
		t.Fatalf("the changes do not add up to the team (-team +changes):\n%s", diff)
	}
}

// progress waits until another batch is applied.
func (p *process) progress() {
	p.t.Helper()
	applied := func() (n int64) {
		uploads, err := p.recent(p.t.Context(), 10)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, u := range uploads {
			if u.Status.Settled() {
				n += 1 << 40 // nothing is left to wait for
			}
			n += u.Counts.BatchesApplied
		}
		return n
	}
	before := applied()
	// There is no pause, so that the caller can kill the process before the rest is applied.
	for deadline := time.Now().Add(5 * time.Minute); applied() == before && before < 1<<41; {
		if time.Now().After(deadline) {
			p.t.Fatal("no batch was applied within five minutes, want one")
		}
	}
}

func (p *process) command(args ...string) result {
	p.t.Helper()
	return command(p.t, "", append(args, "--data", p.dir)...)
}

// foldedChanges reads the stream of changes from its beginning, with a subscriber's rights, until they add up to want,
// or until none has come for a while.
func (p *process) foldedChanges(want map[string]string) map[string]string {
	p.t.Helper()
	nc, err := nats.Connect(p.info.NATS, nats.UserInfo(p.info.NATSUser, p.info.NATSPassword))
	if err != nil {
		p.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		p.t.Fatal(err)
	}
	consumer, err := js.CreateConsumer(p.t.Context(), "CHANGES",
		jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		p.t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		p.t.Fatal(err)
	}
	defer messages.Stop()
	newest := map[string]events.Change{}
	folded := map[string]string{}
	for {
		m, err := messages.Next(jetstream.NextMaxWait(time.Minute))
		if errors.Is(err, nats.ErrTimeout) {
			return folded
		}
		if err != nil {
			p.t.Fatal(err)
		}
		c, err := events.DecodeChange(m.Data())
		if err != nil {
			p.t.Fatal(err)
		}
		if c.Version > newest[c.Person].Version {
			newest[c.Person] = c
			folded[c.Person] = c.Flavor
		}
		at, err := m.Metadata()
		if err != nil {
			p.t.Fatal(err)
		}
		if at.NumPending == 0 && maps.Equal(folded, want) {
			return folded
		}
	}
}
