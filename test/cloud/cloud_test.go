package cloud_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// TestDeployment deploys the packaged stack once, and uses it. The parts build on one another, so they run in this order
// and all together.
func TestDeployment(t *testing.T) {
	d := deploy(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *deployment)
	}{
		{"the talk's team", testTeam},
		{"every route with one token, in every order", testReading},
		{"refusals", testRefusals},
		{"open to all", testOpen},
		{"who may subscribe", testSubscribing},
		{"rejected rows", testRejects},
		{"an event twice", testDuplicate},
		{"a vanished object", testVanished},
		{"a poison message", testPoison},
		{"a change that can't be read", testPoisonedChange},
		{"a message that fails on every try", testExhausted},
		{"an event that fails on every try", testIngestFails},
		{"a file too long for one invocation", testResumed},
		{"a file of forty continuations", testLoop},
		{"a race", testRace},
		{"a long report of a reading that fails", testLongReport},
		{"a service that does not answer", testHung},
		{"nothing left over", testNothingLeft},
		{"roles", testRoles},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, d) }) {
			return
		}
	}
}

// testTeam uploads the talk's team and reads it as the talk does.
func testTeam(t *testing.T, d *deployment) {
	all := d.subscriber(t, "subscriber-of-all", nil)
	moved := d.subscriber(t, "subscriber-of-pistachio", map[string]any{"kind": []string{"changed"}, "flavor": []string{"pistachio"}})
	d.aws(t, "s3", "cp", filepath.Join(root, "test/testdata/favorites.csv"), "s3://"+d.Ref("UploadsBucket")+"/uploads/the team, 1+1.csv")
	u := d.settled(t, "uploads/the team, 1+1.csv")
	if want := (events.Counts{Rows: 8, Applied: 8, Batches: 1, BatchesApplied: 1}); u.Status != events.Live || u.Counts != want {
		t.Fatalf("%+v", u)
	}
	if got := d.ask(t, http.MethodGet, "/team", d.token); got.status != http.StatusOK || string(bytes.TrimSpace(got.body)) != string(testdata(t, "team.json")) {
		t.Fatalf("GET /team: %d %s", got.status, got.body)
	}

	// A console's folder and what a job leaves are no uploads.
	d.aws(t, "s3api", "put-object", "--bucket", d.Ref("UploadsBucket"), "--key", "uploads/2026/")
	d.aws(t, "s3", "cp", filepath.Join(root, "test/testdata/favorites.csv"), "s3://"+d.Ref("UploadsBucket")+"/uploads/2026/_SUCCESS")

	second := filepath.Join(t.TempDir(), "second.json")
	if err := os.WriteFile(second, []byte(`{"andy": "pistachio", "dan": "mint chocolate chip", "eileen": "rocky road", "liz": null, "zoë": "pistachio"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d.aws(t, "s3", "cp", "--metadata", "on-error=abort", second, "s3://"+d.Ref("UploadsBucket")+"/uploads/")
	u = d.settled(t, "uploads/second.json")
	if want := (events.Counts{Rows: 5, Applied: 5, Batches: 1, BatchesApplied: 1}); u.Status != events.Live || u.Counts != want {
		t.Fatalf("%+v", u)
	}
	if got := d.ask(t, http.MethodGet, "/uploads", d.token); got.status != http.StatusOK || bytes.Contains(got.body, []byte("uploads/2026/")) {
		t.Errorf("GET /uploads: %d %s, want no upload below uploads/2026/", got.status, got.body)
	}
	if got := d.ask(t, http.MethodGet, "/ice-cream/zo%C3%AB", d.token); got.status != http.StatusOK {
		t.Errorf("GET /ice-cream/zoë: %d %s", got.status, got.body)
	}
	if got := d.ask(t, http.MethodGet, "/ice-cream/liz", d.token); got.status != http.StatusNotFound {
		t.Errorf("GET /ice-cream/liz, who was removed: %d %s", got.status, got.body)
	}
	want := map[string]bool{
		"andy:  → cookie dough": true, "bill:  → mint chocolate chip": true, "cedric:  → cookie dough": true, "dan:  → mint chocolate chip": true,
		"eileen:  → cookie dough": true, "liz:  → pistachio": true, "marija:  → mint chocolate chip": true, "shane:  → rocky road": true,
		"andy: cookie dough → pistachio": true, "eileen: cookie dough → rocky road": true, "liz: pistachio → ": true, "zoë:  → pistachio": true,
	}
	await(t, "every change", func() bool { d.receive(t, all); return len(all.changes(t)) >= len(want) })
	if diff := gocmp.Diff(want, all.changes(t)); diff != "" {
		t.Errorf("told to a subscriber (-want +got):\n%s", diff)
	}
	// Whatever its filter lets through comes with the same publish as what the other has by now.
	await(t, "the change for whom only that concerns", func() bool { d.receive(t, moved); return len(moved.got) > 0 })
	if diff := gocmp.Diff(map[string]bool{"andy: cookie dough → pistachio": true}, moved.changes(t)); diff != "" {
		t.Errorf("told to a subscriber with a filter (-want +got):\n%s", diff)
	}
}
