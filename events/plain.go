package events

// Plain tells whether s is printable ASCII without a quote or backslash. CleanName does no more to any part of such text
// than to trim its spaces and to look at its length.
func Plain(s string) bool { return plain(s) }

// plain tells whether s is printable ASCII without a quote or backslash: text that needs neither normalisation nor
// escaping. By far the most names are, so both CleanName and the encoders ask this first. It looks at eight bytes at a
// time, the last of which may overlap: names are short and of any length, and a loop over the rest costs more than that.
func plain(s string) bool {
	switch n := len(s); {
	case n >= 8:
		odd := Unplain(word(s[n-8:]))
		for ; len(s) > 8; s = s[8:] {
			odd |= Unplain(word(s))
		}
		return odd&highs == 0
	case n >= 4:
		return Unplain(half(s)|half(s[n-4:])<<32)&highs == 0
	case n > 0:
		const spaces = 0x2020202020000000
		return Unplain(uint64(s[0])|uint64(s[n/2])<<8|uint64(s[n-1])<<16|spaces)&highs == 0
	}
	return true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// Unplain looks at eight bytes of text, the first of them in the lowest bits. It has a high bit set of a byte if, and only
// if, one of them is not as Plain wants it: the lowest one that is set is that of the first such byte, and of the bytes
// above nothing can be told. "Determine if a word has a byte less than n",
// https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
func Unplain(word uint64) uint64 {
	quote, backslash, del := word^ones*'"', word^ones*'\\', word^ones*0x7f
	return word | (word - ones*' ') | (quote - ones) | (backslash - ones) | (del - ones)
}

func word(s string) uint64 { return half(s) | half(s[4:])<<32 }

func half(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
