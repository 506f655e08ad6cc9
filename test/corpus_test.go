package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestCorpusUpload uploads every file of ingest's corpus, under keys that other systems have had trouble with. The
// ledger must have the outcome that ingest's own test wants: status, counts, failure, and every rejected row.
func TestCorpusUpload(t *testing.T) {
	testutil.SkipIfShort(t)
	corpus := filepath.Join("..", "ingest", "testdata", "corpus")
	files, err := os.ReadDir(corpus)
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t)
	folders := []string{
		"a b/", "a+b/", "100%/", "a%2Fb/", "Zoë 🍦/", "semi;colon&amp=1/", "it's/", ".../", "q?x=1&y#z/", "\"quoted\"/",
		"Zoe\u0308/", "%C3%A9+%20/", "a\\b/", "~*()!@$,=/", " / /", "日本/", strings.Repeat("a folder of a long path/", 38), "",
	}
	keys := map[string]string{}
	for i, f := range files {
		content, err := os.ReadFile(filepath.Join(corpus, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		keys[f.Name()] = "uploads/" + folders[i%len(folders)] + f.Name()
		s.put(keys[f.Name()], content, nil)
	}
	uploads := map[string]events.Upload{} // by key
	testutil.WaitFor(t, "all files to be settled", func() bool {
		for _, u := range s.uploads() {
			if u.Status.Settled() {
				uploads[u.Key] = u
			}
		}
		return len(uploads) == len(keys)
	})
	for name, key := range keys {
		want, err := os.ReadFile(filepath.Join(corpus+".want", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		u := uploads[key]
		checkCounts(t, u)
		if got := firstLines(u); !strings.HasPrefix(string(want), got) {
			t.Errorf("outcome of %s: got\n%s\nwant\n%s", key, got, want)
		}
		status, body := s.get("/uploads/" + u.ID) // the list has no rejects
		if err := json.Unmarshal(body, &u); err != nil || status != http.StatusOK {
			t.Fatalf("GET /uploads/%s: status %d, %v", u.ID, status, err)
		}
		if got, want := int64(len(u.Rejects)), min(u.Counts.Rejected, events.MaxRejects); got != want {
			t.Errorf("the ledger has %d rejects of %s, want %d", got, key, want)
		}
	}
}

// firstLines returns the first lines of an upload's outcome in the form that the corpus has.
func firstLines(u events.Upload) string {
	text := fmt.Sprintf("%s, format %q, rows %d, rejected %d\n", u.Status, u.Format, u.Counts.Rows, u.Counts.Rejected)
	if f := u.Failure; f != nil {
		text += fmt.Sprintf("%d failed at %d:%d: %s: %s\n", f.Offset, f.Line, f.Column, f.Code, f.Reason)
	}
	return text
}
