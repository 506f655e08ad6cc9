package ingest

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// quote returns text of a file for use in a reason: quoted, without control characters, and cut to 80 bytes.
func quote(text string) string { return strconv.Quote(truncate(text, 80)) }

const (
	removeIt  = "remove it"
	useSpace  = "replace it with an ordinary space or remove it"
	endWithLF = "end lines with LF"
)

// character returns a name for the first character of text, which must not be empty, and advice on how to fix it. The
// advice is empty for ordinary characters.
func (s *source) character(text []byte) (name, advice string) {
	r, size := utf8.DecodeRune(text)
	if r == utf8.RuneError && size == 1 {
		return s.invalidByte(text[0])
	}
	if r == '\'' {
		return "a single quote (')", `write double quotes: "`
	}
	if r > ' ' && r < 0x7f {
		return "'" + string(r) + "'", ""
	}
	name = fmt.Sprintf("%U", r)
	if unicode.IsPrint(r) && !unicode.IsSpace(r) {
		name += " '" + string(r) + "'"
	}
	switch {
	case r == 0:
		return name + " (NUL)", removeIt
	case r == '\n':
		return name + " (line feed)", removeIt
	case r == '\t':
		return name + " (tab)", removeIt
	case r == 0x1a:
		return name + " (Ctrl-Z, which DOS programs write at the end of a file)", removeIt
	case r == 0x85:
		return name + " (next line)", endWithLF
	case r == 0x2028, r == 0x2029:
		return name + " (line separator)", endWithLF
	case r == 0xfeff:
		return name + " (byte order mark)", removeIt
	case r == 0xa0:
		return name + " (no-break space)", useSpace
	case unicode.Is(unicode.Quotation_Mark, r):
		return name + " (typographic quote)", `write straight quotes: "`
	case unicode.IsSpace(r), unicode.Is(unicode.Cf, r):
		return name + " (white space or invisible character)", useSpace
	case unicode.IsControl(r):
		return name + " (control character)", removeIt
	}
	return name, ""
}
