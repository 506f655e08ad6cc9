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
)

// TestCorpusThroughTheHouse uploads every file of ingest's corpus, under names that have been trouble elsewhere. What becomes
// of each is what ingest's own test says, now in the ledger: status, counts, failure, and every rejected row.
func TestCorpusThroughTheHouse(t *testing.T) {
	folder := filepath.Join("..", "ingest", "testdata", "corpus")
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	p := startPipeline(t)
	folders := []string{"a b/", "a+b/", "100%/", "a%2Fb/", "Zoë 🍦/", "semi;colon&amp=1/", "it's/", ".../", "q?x=1&y#z/", "\"quoted\"/",
		"Zoe\u0308/", "%C3%A9+%20/", "a\\b/", "~*()!@$,=/", " / /", "日本/", strings.Repeat("a folder of a long path/", 38), ""}
	keys := map[string]string{}
	for i, f := range files {
		content, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		keys[f.Name()] = "uploads/" + folders[i%len(folders)] + f.Name()
		p.put(keys[f.Name()], content, nil)
	}
	for name, key := range keys {
		want, err := os.ReadFile(filepath.Join(folder+".want", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		u := p.settled(key)
		if got := first(u); !strings.HasPrefix(string(want), got) {
			t.Errorf("%s: got\n%s\nwant\n%s", key, got, want)
		}
		status, body := p.get("/uploads/" + u.ID) // the list has no rejects
		if err := json.Unmarshal(body, &u); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d, %v", key, status, err)
		}
		if int64(len(u.Rejects)) != min(u.Counts.Rejected, events.MaxRejects) {
			t.Errorf("%s: the ledger has %d of %d rejected rows", key, len(u.Rejects), u.Counts.Rejected)
		}
	}
}

// first tells of an upload what stands in the first lines of what the corpus wants.
func first(u events.Upload) string {
	s := fmt.Sprintf("%s, format %q, rows %d, rejected %d\n", u.Status, u.Format, u.Counts.Rows, u.Counts.Rejected)
	if f := u.Failure; f != nil {
		s += fmt.Sprintf("%d failed at %d:%d: %s: %s\n", f.Offset, f.Line, f.Column, f.Code, f.Reason)
	}
	return s
}
