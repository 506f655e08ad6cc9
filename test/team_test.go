package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

// teamFiles returns one team of eight people in every format, by file name, and the response to GET /team for it.
func teamFiles(t *testing.T) (files map[string][]byte, response string) {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	object := read("favorites.json")
	team := map[string]string{}
	if err := json.Unmarshal(object, &team); err != nil {
		t.Fatal(err)
	}
	tsv, array, ndjson := "flavor\tperson\n", "[", ""
	for person, flavor := range team {
		tsv += flavor + "\t" + person + "\n"
		row := fmt.Sprintf(`{"person": %q, "flavor": %q}`, person, flavor)
		ndjson += row + "\n"
		array += row + ","
	}
	return map[string][]byte{
		"favorites.csv": read("favorites.csv"), "favorites.json": object, "favorites.tsv": []byte(tsv),
		"array.json": []byte(strings.TrimSuffix(array, ",") + "]"), "favorites.ndjson": []byte(ndjson),
	}, strings.TrimSpace(string(read("team.json")))
}

// TestTeam uploads the same team in every format and compression. GET /team must have the same response each time.
func TestTeam(t *testing.T) {
	files, want := teamFiles(t)
	for name, text := range files {
		for _, compression := range []string{"", ".gz", ".zst"} {
			t.Run(name+compression, func(t *testing.T) {
				t.Parallel()
				s := startServer(t)
				key := "uploads/" + name + compression
				s.put(key, compress(t, text, compression), nil)
				if u := s.settled(key); u.Status != events.Live || u.Counts.Applied != 8 || u.Counts.Rows != 8 {
					t.Errorf("the upload is %s with %+v, want it live with 8 of 8 rows applied", u.Status, u.Counts)
				}
				status, body := s.get("/team")
				if got := strings.TrimSpace(string(body)); status != http.StatusOK || got != want {
					t.Errorf("GET /team: status %d, body (-want +got):\n%s", status, gocmp.Diff(want, got))
				}
			})
		}
	}
}

// TestOverwritten overwrites an object before it can be read each time. An upload whose object is gone has to fail
// visibly.
func TestOverwritten(t *testing.T) {
	s := startServer(t)
	const key = "uploads/again.csv"
	for i := range 20 {
		s.put(key, fmt.Appendf(nil, "person,flavor\nandy,flavor %d\n", i), nil)
	}
	var uploads []events.Upload
	testutil.WaitFor(t, "all uploads to be settled", func() bool {
		uploads = s.uploads()
		pending := func(u events.Upload) bool { return !u.Status.Settled() }
		return len(uploads) == 20 && !slices.ContainsFunc(uploads, pending)
	})
	if _, body := s.get("/ice-cream/andy"); !strings.Contains(string(body), `"flavor 19"`) {
		t.Errorf("GET /ice-cream/andy: %s, want flavor 19", body)
	}
	for _, u := range uploads {
		if u.Status == events.Failed && u.Failure.Code != events.ObjectVanished {
			t.Errorf("upload %s failed with %s, want %s", u.ID, u.Failure.Code, events.ObjectVanished)
		}
	}
}
