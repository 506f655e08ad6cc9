package local_test

import (
	"strings"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
)

// TestIgnoredObjects checks that objects which jobs and consoles create next to uploads are stored but not ingested,
// neither at once nor when the next start looks for objects that are not in the ledger.
func TestIgnoredObjects(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ignore  events.IgnoreList
		ignored []string
		uploads []string
	}{
		"by default": {
			nil,
			[]string{"2026/", "run/_SUCCESS", "run/.part-0.csv.crc", "run_$folder$", ".DS_Store", "._team.csv"},
			[]string{"run/part-0.csv", "_SUCCESS.txt"},
		},
		"by patterns": {events.IgnoreList{"*.tmp"}, []string{"2026/", "a/b.tmp"}, []string{"_SUCCESS", "tmp.csv"}},
		"none":        {events.IgnoreList{}, []string{"2026/"}, []string{"_SUCCESS", "._team.csv"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *local.Config) { c.Ignore = tt.ignore })
			for _, key := range tt.ignored {
				s.put(key, contentOf(key))
			}
			for _, key := range tt.uploads {
				s.put(key, "person,flavor\nandy,mint\n")
			}
			for range 2 {
				found := map[string]bool{}
				for _, u := range s.allSettled(len(tt.uploads)) {
					found[u.Key] = true
				}
				for _, key := range tt.uploads {
					if !found["uploads/"+key] {
						t.Errorf("%s is not in the ledger", key)
					}
				}
				if len(found) != len(tt.uploads) {
					t.Errorf("the ledger has the keys %v, want %q", found, tt.uploads)
				}
				s.stop()
				s.start()
				<-s.Reconciled()
			}
			for _, key := range tt.ignored {
				if s.object("flavorless-uploads", "uploads/"+key) != contentOf(key) {
					t.Errorf("%s does not have the content that was sent", key)
				}
			}
		})
	}
}

// contentOf returns the content of an ignored object. Folder markers are empty.
func contentOf(key string) string {
	if strings.HasSuffix(key, "/") {
		return ""
	}
	return "left by a job"
}
