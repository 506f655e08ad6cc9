package events_test

import (
	"testing"

	"github.com/flavorless/flavorless/events"
)

func TestIgnoreList(t *testing.T) {
	for _, tt := range []struct {
		key  string
		size int64
		want bool
	}{
		{"uploads/2026/", 0, true},
		{"uploads/", 0, true},
		{"uploads/2026/", 7, false}, // not empty, so not a folder marker
		{"uploads/_SUCCESS", 0, true},
		{"uploads/run=1/_SUCCESS", 12, true},
		{"uploads/_SUCCESS.csv", 0, false},
		{"uploads/_success", 0, false},
		{"uploads/.part-00000.csv.crc", 12, true},
		{"uploads/part-00000.csv.crc/team.csv", 12, false},
		{"uploads/run_$folder$", 0, true},
		{"uploads/_started_1734", 0, true},
		{"uploads/_committed_1734", 99, true},
		{"uploads/.DS_Store", 6148, true},
		{"uploads/a/.DS_Store", 6148, true},
		{"uploads/._team.csv", 4096, true},
		{"uploads/._team.csv/x.csv", 4096, false},
		{"uploads/Thumbs.db", 1, true},
		{"uploads/desktop.ini", 1, true},
		{"uploads/team.csv", 0, false},
		{"uploads/.team.csv", 1, false},
		{"uploads/_team.csv", 1, false},
		{"uploads/notes.txt", 1, false},
	} {
		if got := events.DefaultIgnoreList().Match(events.Object{Key: tt.key, Size: tt.size}); got != tt.want {
			t.Errorf("Match(%q of %d bytes) = %v, want %v", tt.key, tt.size, got, tt.want)
		}
	}
	if (events.IgnoreList{}).Match(events.Object{Key: "uploads/_SUCCESS"}) {
		t.Error("the empty list matches _SUCCESS, want no match")
	}
}

func TestParseIgnoreList(t *testing.T) {
	for _, pattern := range []string{"*.tmp", "?.csv", "[a-c].csv", "x y", `\*`} {
		l, err := events.ParseIgnoreList([]string{pattern})
		if err != nil || len(l) != 1 {
			t.Errorf("ParseIgnoreList(%q) = %q, %v, want the pattern", pattern, l, err)
		}
	}
	for _, pattern := range []string{"", "[a", `a\`, "tmp/*"} {
		if _, err := events.ParseIgnoreList([]string{"*.tmp", pattern}); err == nil {
			t.Errorf("ParseIgnoreList(%q) succeeds, want an error", pattern)
		}
	}
	if _, err := events.ParseIgnoreList(events.DefaultIgnoreList()); err != nil {
		t.Error(err)
	}
}
