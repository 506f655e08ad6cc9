package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
)

// TestHintsRepeatData: each hint that names a command repeats the flag --data.
func TestHintsRepeatData(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data folder"))
	flag := " --data '" + p.dir + "'"
	rejected := writeFile(t, "rejected.csv", "person,flavor\n"+strings.Repeat("bill,\n", events.MaxRejects+1))
	for _, test := range []struct{ line, want string }{
		{"team", "flavorless upload" + flag},
		{"uploads", "flavorless upload" + flag},
		{"lookup andy", "flavorless team" + flag},
		{"uploads abcdefgh", `begins with "abcdefgh"; to list uploads: flavorless uploads` + flag},
		{"uploads abc", "at least 8 characters; to list uploads: flavorless uploads" + flag},
		{"uploads 5v2kq3z8m1d7xw0rjt4ybn6c9e", "flavorless uploads" + flag},
		{"uploads --rejects", "flavorless uploads ID --rejects" + flag},
		{"upload /dev/null", "flavorless upload - --as NAME" + flag + " < /dev/null"},
		{"upload " + rejected, " --rejects" + flag},
	} {
		if got := p.command(strings.Fields(test.line)...); !strings.Contains(got.out+got.err, test.want) {
			t.Errorf("%s: %+v, want %q", test.line, got, test.want)
		}
	}
	p.kill()
	_, err := new(uploadFlags).follow(t.Context(), &terminal{}, p.connection, "uploads/a.csv", "etag", nil)
	for _, want := range []string{"uploads/a.csv is stored", "flavorless serve" + flag, "flavorless uploads" + flag} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("following with a dead server = %v, want %q", err, want)
		}
	}
}

// TestLostWhileFollowing: an upload that can't be followed to its end is pending, and the error names its ID.
func TestLostWhileFollowing(t *testing.T) {
	t.Parallel()
	const id = "5v2kq3z8m1d7xw0rjt4ybn6c9e"
	u := events.Upload{ID: id, Key: "uploads/a.csv", ETag: "etag"}
	c := apiOf(t, map[string]any{"/uploads": map[string]any{"uploads": []events.Upload{u}}})
	_, err := new(uploadFlags).follow(t.Context(), &terminal{}, c, u.Key, u.ETag, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "uploads/a.csv is stored as upload "+id) ||
		!strings.HasSuffix(err.Error(), ": flavorless uploads "+id) {
		t.Errorf("follow = %v, want the ID and the command that shows the upload", err)
	}
	sum := uploadSummary{files: 1}
	if sum.add(u, err); sum.pending != 1 || sum.code != exitFailed {
		t.Errorf("summary = %+v, want one pending file and exit code %d", sum, exitFailed)
	}
}

// TestRejectsOfAbortedUpload: with on-error=abort, the count of rejected rows includes good rows, which are no further
// rejected rows to show.
func TestRejectsOfAbortedUpload(t *testing.T) {
	t.Parallel()
	for rejects, want := range map[int]string{
		1: "", events.MaxRejects: "these are the first 100; to see all: flavorless uploads id --rejects",
	} {
		var out bytes.Buffer
		(&terminal{out: &out}).report(events.Upload{
			ID: "id", Status: events.Failed, Published: time.Now(), Counts: events.Counts{Rows: 300, Rejected: 300},
			Failure: &events.Failure{Code: events.Aborted}, Rejects: make([]events.Reject, rejects),
		}, &connection{})
		if got := out.String(); strings.Contains(got, "more") || !strings.Contains(got, want) ||
			want == "" && strings.Contains(got, "--rejects") {
			t.Errorf("report with %d rejected rows = %s\nwant %q and no number of further rows", rejects, got, want)
		}
	}
}

// TestUploadsBeingRead: the list shows no number of rows while a file is being read.
func TestUploadsBeingRead(t *testing.T) {
	t.Parallel()
	u := events.Upload{ID: "id", Key: "uploads/a.csv", Status: events.Publishing, Counts: events.Counts{Applied: 7}}
	c := apiOf(t, map[string]any{"/uploads": map[string]any{"uploads": []events.Upload{u}}})
	var out bytes.Buffer
	if err := listUploads(t.Context(), &terminal{out: &out}, c, 1, false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if got := strings.Fields(lines[1])[2:]; strings.Join(got[:6], " ") != "publishing - 7 0 0 -" {
		t.Errorf("uploads prints %q, want - as the numbers of rows and rejected rows", got)
	}
}
