package events

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/flavorless/flavorless/internal/swar"
)

// MaxName is the maximum length of a person or a flavor, in bytes of normalized UTF-8. It keeps a row well below one
// DynamoDB write unit (1 KB).
const MaxName = 256

// CleanName normalizes a person or a flavor: it removes surrounding white space and converts the rest to Unicode NFC,
// so that composed and decomposed forms of é are the same name. The result has 1 to MaxName bytes and no forbidden
// characters, and CleanName does not change it again. Field ("person" or "flavor") begins the reason of an error.
// Missing is the error code for a name without visible characters.
func CleanName(s, field string, missing Code) (string, *RowError) {
	if swar.Plain(s) {
		if s != "" && (s[0] == ' ' || s[len(s)-1] == ' ') {
			s = strings.Trim(s, " ")
		}
	} else {
		var bad *RowError
		if s, bad = cleanUnicode(s, field, missing); bad != nil {
			return "", bad
		}
	}
	if s == "" {
		return "", &RowError{missing, fmt.Sprintf("%s is empty; write 1 to %d bytes of text", field, MaxName)}
	}
	if len(s) > MaxName { // only now, because NFC can make a name shorter or longer
		return "", &RowError{TooLong,
			fmt.Sprintf("%s is %d bytes long; shorten it to at most %d bytes", field, len(s), MaxName)}
	}
	return s, nil
}

// NotUTF8 is the reason for [InvalidUTF8], to be appended to the name of a field.
const NotUTF8 = " is not valid UTF-8; save the file as UTF-8, or upload it with metadata such as charset=windows-1252"

// checkName refuses a name that CleanName would refuse or change, because messages from a topic are not trusted.
func checkName(s, field string, missing Code) error {
	clean, bad := CleanName(s, field, missing)
	if bad != nil {
		return bad
	}
	if clean != s {
		return fmt.Errorf("%s %+.80q is not normalized", field, s)
	}
	return nil
}

// cleanUnicode is CleanName for text that is not plain ASCII, without the checks of the length. It trims before it
// normalizes, but the order does not matter: NFC keeps white space, or (U+2000 and U+2001) replaces it by other white
// space. NFC inserts U+034F after 30 combining marks in a row, which bounds its cost:
// https://unicode.org/reports/tr15/#Stream_Safe_Text_Format
func cleanUnicode(s, field string, missing Code) (string, *RowError) {
	if !utf8.ValidString(s) {
		return "", &RowError{InvalidUTF8, field + NotUTF8}
	}
	s = strings.TrimFunc(s, IsSpace)
	if mayHaveMarks(s) && !norm.NFC.IsNormalString(s) {
		s = norm.NFC.String(s)
	}
	for _, r := range s {
		if forbidden(r) {
			return "", &RowError{ControlCharacter,
				fmt.Sprintf("%s contains the forbidden character U+%04X; remove it", field, r)}
		}
	}
	// The remaining ASCII characters are visible.
	if s != "" && s[0] >= utf8.RuneSelf && !strings.ContainsFunc(s, visible) {
		first, _ := utf8.DecodeRuneInString(s)
		return "", &RowError{missing, fmt.Sprintf(
			"%s has only invisible characters, such as U+%04X; write 1 to %d bytes of visible text", field, first, MaxName)}
	}
	return s, nil
}

// mayHaveMarks reports whether s has characters from U+0300, the first combining mark. Text without them, like most
// names in Latin script, is in NFC, and this check is faster than that of package norm.
// https://www.unicode.org/reports/tr15/#Detecting_Normalization_Forms
func mayHaveMarks(s string) bool {
	for i := range len(s) {
		if s[i] >= 0xcc { // the first byte of U+0300
			return true
		}
	}
	return false
}

// IsSpace reports whether CleanName removes r from the ends of a name. Besides white space it removes the byte order
// mark and the zero-width space, which spreadsheets and web pages leave behind.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }

// visible reports whether r can be seen on its own. White space can't, nor can the characters that Unicode calls
// default ignorable (joiners, soft hyphens, variation selectors, Hangul fillers), other format characters without a
// glyph, and the Braille pattern without dots.
// https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point
func visible(r rune) bool {
	if r < '\u0300' { // the common case
		return !IsSpace(r) && r != '\u00ad'
	}
	return !IsSpace(r) && r != '\u2800' &&
		(!unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
			unicode.Is(unicode.Prepended_Concatenation_Mark, r))
}

// forbidden reports whether no name may contain r:
//
//   - Control characters and the line and paragraph separators, because a name is one line of text.
//   - Bidirectional embeddings, overrides and isolates, because they reorder the text that follows a name in a
//     terminal, a log or a table. No name needs them.
//   - Noncharacters, which are not for interchange. SQS refuses U+FFFE and U+FFFF.
//     https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
//
// Other invisible characters are allowed, because some names need them: joiners in Persian, Indic scripts and emoji,
// the zero-width space in Khmer and Thai, direction marks in Hebrew with digits. Two names can therefore look the same
// and differ, but so can names with a Latin and a Cyrillic "a".
func forbidden(r rune) bool {
	if r < '\u2028' { // the common case
		return r < ' ' || r >= 0x7f && r < 0xa0
	}
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' ||
		unicode.Is(unicode.Noncharacter_Code_Point, r)
}
