package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local/control"
)

// TestRedriveHere lets the table refuse a person until the updates are dead, and then mends it.
func TestRedriveHere(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	db, err := sqlite.OpenConn(filepath.Join(p.dir, "flavorless.db"), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetBusyTimeout(time.Minute)
	sql := func(statement string) {
		t.Helper()
		if err := sqlitex.ExecuteTransient(db, statement, nil); err != nil {
			t.Fatal(err)
		}
	}
	redrive := func(args ...string) result {
		return command(t, "", append([]string{"redrive", "--data", p.dir}, args...)...)
	}
	if got := redrive(); got.code != exitOK || got.out != "QUEUE        WAITING\ningest-dead  0\napply-dead   0\n" {
		t.Errorf("of empty queues: %+v", got)
	}
	sql("CREATE TRIGGER outage BEFORE INSERT ON favorites BEGIN SELECT RAISE(ABORT, 'the disk is on strike'); END")
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n")
	listed := func() string { return redrive("--json").out }
	until(t, "there is a dead letter", func() bool { return strings.Contains(listed(), `"queue":"apply-dead","waiting":1`) })
	id := ""
	if uploads, err := p.recent(t.Context(), 1); err == nil && len(uploads) == 1 {
		id = uploads[0].ID
	}
	if got := redrive(); got.code != exitOK || !regexp.MustCompile(`(?m)^1 +5 +apply-dead .* upload `+id+" ").MatchString(got.out) || !strings.Contains(got.out, "the disk is on strike") || !strings.Contains(got.out, "--data "+p.dir+" --all") {
		t.Errorf("listed: %+v", got)
	}
	sql("DROP TRIGGER outage")
	if got := redrive("7"); got.code != exitFailed || !strings.Contains(got.err, "7: there is no such dead letter") {
		t.Errorf("an id that there is not: %+v", got)
	}
	if got := redrive("1"); got.code != exitOK || got.out != "1: 1 put back\n" || got.err != "" {
		t.Errorf("redriven: %+v", got)
	}
	if u := p.settled("uploads/a.csv"); u.Status != events.Live || p.team()["andy"] != "vanilla" {
		t.Errorf("became %+v, team %v", u, p.team())
	}
	if got := redrive("--all"); got.code != exitOK || got.out != "ingest-dead: 0 put back\napply-dead: 0 put back\n" {
		t.Errorf("again: %+v", got)
	}
	if got := redrive("announce-dead"); got.code != exitUsage || !strings.Contains(got.err, "ingest-dead, apply-dead") {
		t.Errorf("unknown queue: %+v", got)
	}

	t.Run("not without the data folder", func(t *testing.T) {
		for _, token := range []string{"", p.token} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.info.API+control.Path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("token %.5q: %s", token, res.Status)
			}
		}
		t.Setenv("FLAVORLESS_URL", p.info.API)
		if got := command(t, "", "redrive"); got.code != exitUsage || !strings.Contains(got.err, "--data") {
			t.Errorf("%+v", got)
		}
	})
}

// TestRedriveWebhooks: the dead letters of webhooks on one host have names that tell them apart, and their earlier names are
// taken, too.
func TestRedriveWebhooks(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
	defer refuses.Close()
	host := strings.NewReplacer("http://", "", ".", "-", ":", "-").Replace(refuses.URL)
	p := startServe(t, filepath.Join(t.TempDir(), "data"), "--webhook", refuses.URL+"/orders", "--webhook", refuses.URL+"/stock/0123456789abcdef")
	redrive := func(args ...string) result {
		return command(t, "", append([]string{"redrive", "--data", p.dir}, args...)...)
	}
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n")
	until(t, "each webhook has a dead letter", func() bool { return strings.Count(redrive("--json").out, `"waiting":1`) == 2 })
	name := regexp.MustCompile(`"queue":"(webhook-` + host + `-(?:orders|stock)-([0-9a-f]{8})-dead)"`)
	all := name.FindAllStringSubmatch(redrive("--json").out, -1)
	if len(all) != 2 || strings.Contains(redrive().out, "0123456789abcdef") {
		t.Fatalf("the queues are %v in %s", all, redrive().out)
	}
	alias := "webhook-" + host + "-" + all[1][2] + "-dead"
	for _, queue := range []string{all[0][1], alias} {
		if got := redrive(queue); got.code != exitOK || got.out != queue+": 1 put back\n" {
			t.Errorf("redrive %s: %+v", queue, got)
		}
	}
	if got := redrive("webhook-" + host + "-dead"); got.code != exitUsage || !strings.Contains(got.err, all[0][1]) {
		t.Errorf("a name of neither: %+v", got)
	}
}
