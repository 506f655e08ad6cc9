package swar

import (
	"math/bits"
	"strings"
	"testing"
)

// TestPlain compares the check of eight bytes at a time with one that reads byte by byte, for every byte value at every
// position of a word, and with neighbors that could borrow from it.
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
					if got := Plain(s); got != want(s) {
						t.Fatalf("Plain(%q) = %v, want %v", s, got, want(s))
					}
					if length != 8 {
						continue
					}
					first := 8
					if !want(s) {
						first = at
					}
					if got := bits.TrailingZeros64(Special(word(s))&highBits) / 8; got != first {
						t.Fatalf("first special byte of %q = %d, want %d", s, got, first)
					}
				}
			}
		}
	}
}
