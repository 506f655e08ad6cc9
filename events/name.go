package events

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/flavorless/flavorless/internal/swar"
)

// MaxName is the greatest length of a person and of a flavor, in bytes of UTF-8 after normalisation. It keeps a row
// well inside one DynamoDB write unit (1 KB).
const MaxName = 256

// CleanName normalises a person or a flavor: surrounding white space goes, the rest is brought to Unicode NFC, so that
// an é typed on one machine equals that of another. What comes back has 1 to MaxName bytes of UTF-8 and none of the
// characters that forbidden names; CleanName leaves it as it is. Field ("person" or "flavor") names the value in the
// error, and missing is the code for an empty one. A name that has only invisible characters counts as empty.
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
		return "", &RowError{missing, fmt.Sprintf("%s is empty; give 1 to %d bytes of text", field, MaxName)}
	}
	if len(s) > MaxName { // after NFC, which can make a name shorter or longer
		return "", &RowError{TooLong, fmt.Sprintf("%s has %d bytes, %d are allowed; shorten it", field, len(s), MaxName)}
	}
	return s, nil
}

// NotUTF8 is the reason of a row with the code [InvalidUTF8], without the name of the field before it.
const NotUTF8 = " is not valid UTF-8; save the file as UTF-8, or upload it with metadata like charset=windows-1252"

// checkName refuses a name that CleanName would refuse or change: the topics are trust boundaries, too.
func checkName(s, field string, missing Code) error {
	clean, bad := CleanName(s, field, missing)
	if bad != nil {
		return bad
	}
	if clean != s {
		return fmt.Errorf("%s %+.80q is not normalised", field, s)
	}
	return nil
}

// cleanUnicode trims before it normalises. The other way round would give the same: to NFC every white space is a
// character that it keeps, or (U+2000 and U+2001) replaces by another white space. More than 30 combining marks in a row
// are broken up by U+034F, which bounds what normalising costs: https://unicode.org/reports/tr15/#Stream_Safe_Text_Format
func cleanUnicode(s, field string, missing Code) (string, *RowError) {
	if !utf8.ValidString(s) {
		return "", &RowError{InvalidUTF8, field + NotUTF8}
	}
	s = strings.TrimFunc(s, isSpace)
	if !belowMarks(s) && !norm.NFC.IsNormalString(s) {
		s = norm.NFC.String(s)
	}
	for _, r := range s {
		if forbidden(r) {
			return "", &RowError{ControlCharacter, fmt.Sprintf("%s has the control character U+%04X inside; remove it", field, r)}
		}
	}
	if s != "" && s[0] >= utf8.RuneSelf && !strings.ContainsFunc(s, visible) { // of ASCII only visible characters are left
		first, _ := utf8.DecodeRuneInString(s)
		return "", &RowError{missing, fmt.Sprintf("%s has only invisible characters, such as U+%04X; give 1 to %d bytes of visible text",
			field, first, MaxName)}
	}
	return s, nil
}

// belowMarks tells whether s has no character from U+0300 on, where the combining marks begin. Such text is in NFC: so it
// is with most names that are written in Latin letters, and to know is faster than to ask.
// https://www.unicode.org/reports/tr15/#Detecting_Normalization_Forms
func belowMarks(s string) bool {
	for i := range len(s) {
		if s[i] >= 0xcc { // the first byte of U+0300
			return false
		}
	}
	return true
}

// isSpace tells what is trimmed. It includes what spreadsheets and web pages leave behind: no-break spaces are white
// space to Unicode, the byte order mark and the zero-width space are not.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }

// visible reports whether there is something to see of r where it stands alone. There is not of white space, of the characters
// that Unicode calls default ignorable (joiners, soft hyphens, variation selectors, Hangul fillers and the like), of the other
// format characters that have no sign of their own, and of the Braille pattern without dots.
// https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point
func visible(r rune) bool {
	if r < '\u0300' { // most are
		return !isSpace(r) && r != '\u00ad'
	}
	return !isSpace(r) && r != '\u2800' &&
		(!unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
			unicode.Is(unicode.Prepended_Concatenation_Mark, r))
}

// forbidden tells which characters no name may have inside.
//
//   - Controls and the line and paragraph separators: a name is one line of text.
//   - Bidirectional embeddings, overrides and isolates: they turn around whatever is displayed behind the name, in a
//     terminal, a log or a table, and no name needs them.
//   - Noncharacters: Unicode keeps them out of interchange, and of these SQS takes neither U+FFFE nor U+FFFF.
//     https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
//
// Other invisible characters stay, for there are names that need them: joiners in Persian, in Indic scripts and in emoji,
// the zero-width space between Khmer or Thai words, direction marks where Hebrew meets digits. Only a name that has nothing
// else is refused, as an empty one. So two names can look
// the same and differ; to refuse these would not help, since "а" can be Cyrillic, too.
func forbidden(r rune) bool {
	if r < '\u2028' { // most are
		return r < ' ' || r >= 0x7f && r < 0xa0
	}
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' ||
		unicode.Is(unicode.Noncharacter_Code_Point, r)
}
