// Package swar classifies text eight bytes at a time ("SIMD within a register"). Names in files are short, and most of
// them are plain ASCII, so the readers of files and the encoders of messages check for that first.
package swar

// Plain reports whether s is printable ASCII without a quote or backslash: text that needs neither Unicode
// normalization nor escaping.
func Plain(s string) bool {
	// The last word may overlap the one before it, because a loop over the remaining bytes would be slower.
	switch n := len(s); {
	case n >= 8:
		special := Special(word(s[n-8:]))
		for ; len(s) > 8; s = s[8:] {
			special |= Special(word(s))
		}
		return special&highBits == 0
	case n >= 4:
		return Special(half(s)|half(s[n-4:])<<32)&highBits == 0
	case n > 0:
		const spaces = 0x2020202020000000
		return Special(uint64(s[0])|uint64(s[n/2])<<8|uint64(s[n-1])<<16|spaces)&highBits == 0
	}
	return true
}

const (
	ones     = 0x0101010101010101
	highBits = 0x8080808080808080
)

// Special marks the bytes of word that [Plain] does not accept. The first byte of the text is in the lowest eight bits.
// The result has the high bit of at least one byte set if and only if word has such a byte, and the lowest of these
// bits belongs to the first one; the bits above it are not reliable. The method is "Determine if a word has a byte less
// than n",
// https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
func Special(word uint64) uint64 {
	quote, backslash, del := word^ones*'"', word^ones*'\\', word^ones*0x7f
	return word | (word - ones*' ') | (quote - ones) | (backslash - ones) | (del - ones)
}

func word(s string) uint64 { return half(s) | half(s[4:])<<32 }

func half(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
