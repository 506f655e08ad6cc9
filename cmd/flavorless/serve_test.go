package main

import (
	"bufio"
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
)

func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	got := command(t, "", "demo")
	if got.code != exitOK || got.err != "" {
		t.Fatalf("exit code %d, stderr %q", got.code, got.err)
	}
	for _, want := range []string{
		"8 rows: 8 applied, 0 superseded, 0 rejected",
		"4 rows: 3 applied, 0 superseded, 1 rejected",
		"not_a_string",
		"created  andy: cookie dough",
		"changed  andy: rocky road, no longer cookie dough",
		"removed  shane, whose favorite was rocky road",
		"created  zoë: stracciatella",
		`"flavor":"rocky road"`,
		"404 Not Found",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("the story lacks %q:\n%s", want, got.out)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDemoEnds: the demo leaves nothing behind when its output is no longer read, or the terminal is closed.
func TestDemoEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines int
		args  []string
		by    os.Signal // nil: its output is closed
	}{
		{"at the first line", 1, nil, nil},
		{"in between", 15, nil, nil},
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
				go io.Copy(io.Discard, out) //nolint:errcheck // only to keep it from blocking
			}
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Process.Wait()
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestRestart is acceptance 6 of the spine: a server that is started again on its data folder goes on where it was.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, dir)
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\nbill,\n")
	before := p.settled("uploads/a.csv")
	token, info := p.token, p.info
	if code := p.stopped(); code != exitOK {
		t.Fatalf("SIGTERM: exit code %d", code)
	}
	if got := command(t, "", "team", "--data", dir); got.code != exitUsage || !strings.Contains(got.err, "no server is running") {
		t.Errorf("team without a server: %+v", got)
	}

	p = startServe(t, dir)
	if p.info.AccessKey != info.AccessKey || p.info.SecretKey != info.SecretKey || p.info.NATSPassword != info.NATSPassword {
		t.Error("the credentials are others now")
	}
	p.token = token
	if got := p.team(); len(got) != 1 || got["andy"] != "vanilla" {
		t.Errorf("team = %v", got)
	}
	after := p.settled("uploads/a.csv")
	if before.ID != after.ID || !before.Settled.Equal(after.Settled) {
		t.Errorf("the upload was %+v, and is %+v", before, after)
	}
	uploads, err := p.recent(t.Context(), 10)
	if err != nil || len(uploads) != 1 {
		t.Errorf("%d uploads, %v; it was not to be ingested again", len(uploads), err)
	}
}

// TestKilledAfterUpload: an upload that was answered with 200 is ingested even if the process dies the instant after.
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
			t.Fatalf("%+v", u)
		}
		if got := p.team(); len(got) != i+1 || got[person] != "vanilla" {
			t.Fatalf("round %d: team = %v", i, got)
		}
		p.kill()
	}
}

// TestKilledInTheMiddle: killed again and again while it applies and announces, the server ends with every row in the table,
// every count right, and every change in the stream, where a subscriber that comes later finds them.
func TestKilledInTheMiddle(t *testing.T) {
	const people = 15_000
	name := strings.Repeat(" of a long name", 6) // for several batches
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
			t.Fatalf("%+v", u)
		}
	}
	got := p.command("team", "--json")
	var team map[string]string
	if err := json.Unmarshal([]byte(got.out), &team); err != nil {
		t.Fatal(err)
	}
	if len(team) != people {
		t.Fatalf("%d people", len(team))
	}
	for person, flavor := range team {
		if flavor != "mint" { // the later upload
			t.Fatalf("%s has %s", person, flavor)
		}
	}
	if diff := cmp.Diff(team, p.foldedChanges(team)); diff != "" {
		t.Fatalf("the changes do not add up to the team (-team +changes):\n%s", diff)
	}
}

// progress waits until something is applied that was not before.
func (p *process) progress() {
	p.t.Helper()
	applied := func() (n int64) {
		uploads, err := p.recent(p.t.Context(), 10)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, u := range uploads {
			if u.Status.Settled() {
				n += 1 << 40 // no further progress to wait for
			}
			n += u.Counts.BatchesApplied
		}
		return n
	}
	before := applied()
	// Without a pause, to be there while the rest is still to come.
	for deadline := time.Now().Add(5 * time.Minute); applied() == before && before < 1<<41; {
		if time.Now().After(deadline) {
			p.t.Fatal("no progress in five minutes")
		}
	}
}

func (p *process) command(args ...string) result {
	p.t.Helper()
	return command(p.t, "", append(args, "--data", p.dir)...)
}

// foldedChanges reads the stream of changes from its beginning, with a subscriber's rights, until they add up to want, or
// until none has come for a while.
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
	consumer, err := js.CreateConsumer(p.t.Context(), "CHANGES", jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
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
