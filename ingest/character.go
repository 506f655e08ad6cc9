package ingest

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// quote returns text of a file as it can be shown in a reason: in quotes, without control characters, and at most 80 bytes of it.
func quote(text string) string { return strconv.Quote(truncate(text, 80)) }

const saveAsUTF8 = "save the file as UTF-8"

// byteName names a byte that is not UTF-8.
func byteName(b byte) string { return fmt.Sprintf("the byte 0x%02X (not UTF-8)", b) }

// character names the first character of text, which must not be empty, and says what to do about it. The advice is empty for
// characters that nothing is known of.
func character(text []byte) (name, advice string) {
	r, size := utf8.DecodeRune(text)
	if r == utf8.RuneError && size == 1 {
		return byteName(text[0]), saveAsUTF8
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
		return name + " (NUL)", "remove it"
	case r == '\n':
		return name + " (line feed)", "remove it"
	case r == '\t':
		return name + " (tab)", "remove it"
	case r == 0x1a:
		return name + " (Ctrl-Z, which DOS programs write at the end of a file)", "remove it"
	case r == 0x85:
		return name + " (next line)", `end lines with LF`
	case r == 0x2028, r == 0x2029:
		return name + " (line separator)", `end lines with LF`
	case r == 0xfeff:
		return name + " (byte order mark)", "remove it"
	case r == 0xa0:
		return name + " (no-break space)", "write an ordinary space or nothing"
	case unicode.Is(unicode.Quotation_Mark, r):
		return name + " (typographic quote)", `write straight quotes: "`
	case unicode.IsSpace(r), unicode.Is(unicode.Cf, r):
		return name + " (white space or invisible)", "write an ordinary space or nothing"
	case unicode.IsControl(r):
		return name + " (control character)", "remove it"
	}
	return name, ""
}
