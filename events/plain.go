package events

// plain tells whether s is printable ASCII without a quote or backslash: text that needs neither normalisation nor
// escaping. By far the most names are, so both CleanName and the encoders ask this first. It looks at eight bytes at a
// time: "Determine if a word has a byte less than n", https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
func plain(s string) bool {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	odd := uint64(0)
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		quote, backslash, del := w^ones*'"', w^ones*'\\', w^ones*0x7f
		odd |= w | (w - ones*' ') | (quote - ones) | (backslash - ones) | (del - ones)
		s = s[8:]
	}
	if odd&highs != 0 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
