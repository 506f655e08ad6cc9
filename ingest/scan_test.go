package ingest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/flavorless/flavorless/internal/swar"
)

// TestFind compares the scan of eight bytes at a time with package bytes.
func TestFind(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const tricky = "\x00\x01\n\x0b\r !\"#,,,-+[\\]~\x7f\x80\x8a\xac\xff"
	var p lineScan
	for range 200_000 {
		text := make([]byte, random.IntN(40))
		for i := range text {
			text[i] = tricky[random.IntN(len(tricky))]
			if random.IntN(4) > 0 {
				text[i] = byte('a' + random.IntN(26))
			}
		}
		line, _, ended := bytes.Cut(text, []byte("\n"))
		if got := p.find(text, ','); got != ended {
			t.Fatalf("find(%q) = %v, want %v", text, got, ended)
		}
		if !ended {
			continue
		}
		var commas []int
		for i, c := range line {
			if c == ',' {
				commas = append(commas, i)
			}
		}
		if p.end != len(line) || p.commas != len(commas) || p.hasSpecial == swar.Plain(string(line)) {
			t.Fatalf("find(%q): %+v, want end %d and %d commas", text, p, len(line), len(commas))
		}
		if kept := min(len(commas), len(p.comma)); !slices.Equal(p.comma[:kept], commas[:kept]) {
			t.Fatalf("find(%q): commas at %v, want %v", text, p.comma, commas)
		}
	}
}
