package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
)

func TestTable(t *testing.T) {
	columns := []column{{name: "N"}, {name: "ROW", minWidth: 6}, {name: "SPARE", dropOrder: 2},
		{name: "SPARE TOO", dropOrder: 1}, {name: "WHY", minWidth: 12, wrap: true}}
	rows := [][]string{
		{"1", strings.Repeat("x", 300), "s", "t", "flavor is empty; give 1 to 256 bytes of text"},
		{"2", "日本語の行" + strings.Repeat("日", 100), "", "", ""},
		{"3", "ye\u0301s", "s", "t", strings.Repeat("longword", 20)},
	}
	printed := func(width int, wide bool) string {
		var out bytes.Buffer
		(&terminal{out: &out, width: width, wide: wide}).table("  ", columns, rows)
		return out.String()
	}
	for _, width := range []int{200, 132, 80, 60, 40} {
		got := printed(width, false)
		for line := range strings.Lines(got) {
			if n := displayWidth(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("width %[1]d: a line is %[2]d columns wide, want at most %[1]d: %[3]s", width, n, line)
			}
		}
		text := strings.Join(strings.Fields(got), "")
		if !strings.Contains(got, "…") || !strings.Contains(text, "256bytesoftext") || strings.Count(text, "longword") < 15 {
			t.Errorf("width %d: want truncated rows with complete reasons, got\n%s", width, got)
		}
		if strings.Contains(got, "SPARE TOO") && width < 60 || !strings.Contains(got, "SPARE") && width > 60 {
			t.Errorf("width %d: want the spare columns only where they fit, got\n%s", width, got)
		}
	}
	for name, got := range map[string]string{"no terminal": printed(0, false), "--wide": printed(80, true)} {
		for _, row := range rows {
			for _, cell := range row {
				if !strings.Contains(got, cell) {
					t.Errorf("%s: the table lacks %q", name, cell)
				}
			}
		}
		if n := strings.Count(got, "\n"); n != 4 {
			t.Errorf("%s: %d lines, want 4", name, n)
		}
	}
}

// TestListWidth: lists of uploads fit the terminal, and a truncated id finds its upload.
func TestListWidth(t *testing.T) {
	id := strings.Repeat("7", 26)
	u := events.Upload{
		ID: id, Key: "uploads/" + strings.Repeat("a", 1000) + ".csv", Status: events.Failed, Uploaded: time.Now(),
		Counts:  events.Counts{Rows: 1e9},
		Failure: &events.Failure{Code: events.UnknownFormat, Reason: "why"},
	}
	u.Rejects = []events.Reject{{Line: 1, Column: 1, Code: events.MissingFlavor, Raw: strings.Repeat("b", 500),
		Reason: "give it a flavor"}}
	conn := apiOf(t, map[string]any{"/uploads": map[string]any{"uploads": []events.Upload{u}}, "/uploads/" + id: u})
	for _, width := range []int{80, 50} {
		var out bytes.Buffer
		term := &terminal{out: &out, width: width}
		if err := listUploads(t.Context(), term, conn, 20, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "77777777…") {
			t.Errorf("width %d: want a truncated id, got\n%s", width, out.String())
		}
		if err := showUpload(t.Context(), term, conn, "77777777…", false); err != nil {
			t.Fatal(err)
		}
		term.printPair(strings.Repeat("c", 250), strings.Repeat("d", 250))
		for line := range strings.Lines(out.String()) {
			if n := displayWidth(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("width %[1]d: a line is %[2]d columns wide, want at most %[1]d: %[3]s", width, n, line)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	p := startServe(t, t.TempDir()+"/data")
	p.put("uploads/a.csv", goodCSV)
	u := p.settled("uploads/a.csv")
	for _, line := range []string{
		"team --json", "lookup andy --json", "uploads --json", "uploads " + u.ID + " --json",
		"uploads " + u.ID[:10] + " --json",
		"watch --since 1h --count 1 --json", "redrive --json", "env --json",
		"token --json", "webhook-secret https://example.com --json",
	} {
		got := command(t, "", append(strings.Fields(line), "--data", p.dir)...)
		dec := json.NewDecoder(strings.NewReader(got.out))
		n := 0
		for ; dec.More(); n++ {
			var v any
			if err := dec.Decode(&v); err != nil {
				t.Errorf("%s prints %s (%v), want JSON", line, got.out, err)
				break
			}
		}
		if got.code != exitOK || n == 0 {
			t.Errorf("%s = %+v, want exit code %d and JSON", line, got, exitOK)
		}
	}
}
