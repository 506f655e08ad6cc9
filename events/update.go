package events

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Update is one accepted row of an upload: person's favorite is now flavor, or person is removed.
type Update struct {
	Offset int64  // byte at which the row starts in the decompressed file
	Person string // as CleanName gives it
	Flavor string // likewise; empty for a removal
	Remove bool
}

// MaxName is the greatest length of a person and of a flavor, in bytes of UTF-8 after normalisation. It keeps a row
// well inside one DynamoDB write unit (1 KB).
const MaxName = 256

// Code says in a word why a row was rejected or a file failed. Codes are part of the contract: they never change their
// meaning.
type Code string

// Why a single row is rejected; the rows around it go on.
const (
	MissingPerson    Code = "missing_person"    // no person, or only white space
	MissingFlavor    Code = "missing_flavor"    // no flavor, or only white space, and no removal
	TooLong          Code = "too_long"          // over MaxName bytes
	InvalidUTF8      Code = "invalid_utf8"      // bytes that are not UTF-8
	ControlCharacter Code = "control_character" // a control character inside the name
	UnknownAction    Code = "unknown_action"    // an action other than set and remove
	NotAString       Code = "not_a_string"      // a JSON number, boolean, object or array where a string belongs
	MalformedRow     Code = "malformed_row"     // a CSV row with stray quotes or the wrong number of fields, an NDJSON line that is not an object
)

// Why a whole file fails; what was published before the break stays and is counted.
const (
	UnknownFormat      Code = "unknown_format"      // no known suffix
	FormatMismatch     Code = "format_mismatch"     // the content is not what the suffix says
	BadHeader          Code = "bad_header"          // the columns person and flavor are missing or named twice
	RecordTooLong      Code = "record_too_long"     // over 1 MiB in one record
	UnclosedQuote      Code = "unclosed_quote"      // a quoted field that never ends
	MalformedJSON      Code = "malformed_json"      // broken JSON inside an array or object
	CorruptCompression Code = "corrupt_compression" // gzip or zstd that can't be read to its end
	DecompressionBomb  Code = "decompression_bomb"  // expands beyond all measure
	ObjectVanished     Code = "object_vanished"     // deleted or overwritten before it was read
	Aborted            Code = "aborted"             // on-error=abort, and there was an error
)

// RowError says why a row was rejected, in the uploader's words.
type RowError struct {
	Code   Code
	Reason string // what is wrong, and how to mend it
}

func (e *RowError) Error() string { return e.Reason }

// CleanName normalises a person or a flavor: surrounding white space goes, the rest is brought to Unicode NFC, so that
// an é typed on one machine equals that of another. What comes back has 1 to MaxName bytes of UTF-8 and no control
// characters. Field ("person" or "flavor") names the value in the error, and missing is the code for an empty one.
func CleanName(s, field string, missing Code) (string, *RowError) {
	if plain(s) {
		for len(s) > 0 && s[0] == ' ' {
			s = s[1:]
		}
		for len(s) > 0 && s[len(s)-1] == ' ' {
			s = s[:len(s)-1]
		}
	} else {
		var bad *RowError
		if s, bad = cleanUnicode(s, field); bad != nil {
			return "", bad
		}
	}
	if s == "" {
		return "", &RowError{missing, fmt.Sprintf("%s is empty; give 1 to %d bytes of text", field, MaxName)}
	}
	if len(s) > MaxName {
		return "", &RowError{TooLong, fmt.Sprintf("%s has %d bytes, %d are allowed; shorten it", field, len(s), MaxName)}
	}
	return s, nil
}

func cleanUnicode(s, field string) (string, *RowError) {
	if !utf8.ValidString(s) {
		return "", &RowError{InvalidUTF8, fmt.Sprintf("%s is not valid UTF-8; save the file as UTF-8", field)}
	}
	s = trimSpace(s)
	if !belowMarks(s) && !norm.NFC.IsNormalString(s) {
		s = norm.NFC.String(s)
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return "", &RowError{ControlCharacter, fmt.Sprintf("%s has the control character U+%04X inside; remove it", field, r)}
		}
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

// trimSpace also trims what spreadsheets leave behind: no-break spaces are white space to Unicode, the byte order mark
// and the zero-width space are not.
func trimSpace(s string) string {
	space := func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }
	start := 0
	for i, r := range s {
		if !space(r) {
			break
		}
		start = i + utf8.RuneLen(r)
	}
	end := len(s)
	for end > start {
		r, n := utf8.DecodeLastRuneInString(s[start:end])
		if !space(r) {
			break
		}
		end -= n
	}
	return s[start:end]
}
