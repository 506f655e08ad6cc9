package events

import (
	"math/bits"
	"strings"
	"testing"
)

// TestPlain holds the eight-bytes-at-a-time check against one that reads byte by byte, for every byte value at every
// place of a word, and with neighbours that could borrow into it.
func TestPlain(t *testing.T) {
	want := func(s string) bool {
		for _, c := range []byte(s) {
			if c < ' ' || c > '~' || c == '"' || c == '\\' {
				return false
			}
		}
		return true
	}
	for _, filler := range []string{" ", "!", "~", "#", "]", "[", "}"} {
		for length := range 20 {
			for at := range length {
				for c := range 256 {
					s := strings.Repeat(filler, at) + string([]byte{byte(c)}) + strings.Repeat(filler, length-at-1)
					if got := plain(s); got != want(s) {
						t.Fatalf("plain(%q) = %v, want %v", s, got, want(s))
					}
					if length != 8 {
						continue
					}
					first := 8
					if !want(s) {
						first = at
					}
					if got := bits.TrailingZeros64(Unplain(word(s))&highs) / 8; got != first {
						t.Fatalf("of %q the first that is not plain is %d, want %d", s, got, first)
					}
				}
			}
		}
	}
}
