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
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestRedriveLocal makes the table fail until updates are dead letters, repairs it, and redrives them.
func TestRedriveLocal(t *testing.T) {
	testutil.SkipIfShort(t)
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
	redrive().wantStdout(t, "QUEUE        WAITING\ningest-dead  0\napply-dead   0\n")
	sql("CREATE TRIGGER outage BEFORE INSERT ON favorites BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END")
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n")
	listed := func() string { return redrive("--json").out }
	testutil.WaitFor(t, "there is a dead letter", func() bool {
		return strings.Contains(listed(), `"queue":"apply-dead","waiting":1`)
	})
	id := ""
	if uploads, err := p.recent(t.Context(), 1); err == nil && len(uploads) == 1 {
		id = uploads[0].ID
	}
	row := regexp.MustCompile(`(?m)^1 +5 +apply-dead .* upload ` + id + " ")
	if got := redrive(); got.code != exitOK || !row.MatchString(got.out) ||
		!strings.Contains(got.out, "the disk is broken") || !strings.Contains(got.out, "--data "+p.dir+" --all") {
		t.Errorf("redrive = %+v, want a row with the id, 5 tries, the upload and the reason", got)
	}
	sql("DROP TRIGGER outage")
	redrive("7").wantErr(t, exitFailed, "7: ")
	redrive("1").wantStdout(t, "1: 1 put back\n")
	if u := p.settled("uploads/a.csv"); u.Status != events.Live || p.team()["andy"] != "vanilla" {
		t.Errorf("upload = %+v, team = %v; want it live, and andy with vanilla", u, p.team())
	}
	redrive("--all").wantStdout(t, "ingest-dead: 0 put back\napply-dead: 0 put back\n")
	redrive("announce-dead").wantErr(t, exitUsage, "ingest-dead, apply-dead")

	t.Run("needs the data folder", func(t *testing.T) {
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
				t.Errorf("status with the token %.5q = %s, want 401", token, res.Status)
			}
		}
		t.Setenv("FLAVORLESS_URL", p.info.API)
		command(t, "", "redrive").wantErr(t, exitUsage, "--data")
	})
}

// TestRedriveWebhooks: the dead-letter queues of webhooks on one host have different names, and redrive also accepts
// the names that earlier releases used.
func TestRedriveWebhooks(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusGone)
	}))
	defer refuses.Close()
	host := strings.NewReplacer("http://", "", ".", "-", ":", "-").Replace(refuses.URL)
	p := startServe(t, filepath.Join(t.TempDir(), "data"), "--webhook", refuses.URL+"/orders", "--webhook",
		refuses.URL+"/stock/0123456789abcdef")
	redrive := func(args ...string) result {
		return command(t, "", append([]string{"redrive", "--data", p.dir}, args...)...)
	}
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\n")
	testutil.WaitFor(t, "each webhook has a dead letter", func() bool {
		return strings.Count(redrive("--json").out, `"waiting":1`) == 2
	})
	name := regexp.MustCompile(`"queue":"(webhook-` + host + `-(?:orders|stock)-([0-9a-f]{8})-dead)"`)
	all := name.FindAllStringSubmatch(redrive("--json").out, -1)
	if len(all) != 2 || strings.Contains(redrive().out, "0123456789abcdef") {
		t.Fatalf("queues = %v in %s, want two names without a secret", all, redrive().out)
	}
	alias := "webhook-" + host + "-" + all[1][2] + "-dead"
	for _, queue := range []string{all[0][1], alias} {
		redrive(queue).wantStdout(t, queue+": 1 put back\n")
	}
	redrive("webhook-"+host+"-dead").wantErr(t, exitUsage, all[0][1])
}
