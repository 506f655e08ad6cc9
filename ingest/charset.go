package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"

	"github.com/flavorless/flavorless/events"
)

// Byte order marks. The mark of UTF-32LE begins with that of UTF-16LE.
const (
	markUTF8    = "\xef\xbb\xbf"
	markUTF16LE = "\xff\xfe"
	markUTF16BE = "\xfe\xff"
	markUTF32LE = "\xff\xfe\x00\x00"
	markUTF32BE = "\x00\x00\xfe\xff"

	maxMark = len(markUTF32LE)
)

// markOf returns the byte order mark at the beginning of a file, and the charset that it stands for. Both are empty if
// there is no mark.
func markOf(head []byte) (mark, charset string) {
	for mark, charset := range map[string]string{markUTF8: "utf-8", markUTF16LE: "utf-16le", markUTF16BE: "utf-16be"} {
		if bytes.HasPrefix(head, []byte(mark)) {
			return mark, charset
		}
	}
	return "", ""
}

// ToUTF8 converts the beginning of a file to UTF-8 according to its byte order mark, and removes the mark.
func ToUTF8(head []byte) []byte {
	mark, name := markOf(head)
	c, _ := charsetOf(name)
	head = head[len(mark):]
	if c.decoder == nil {
		return head
	}
	text, _, _ := transform.Bytes(c.decoder, head) // our decoders return no errors
	return text
}

// charset is an encoding of text that an uploader can declare.
type charset struct {
	name    string // for messages and help
	aliases []string
	decoder transform.Transformer // nil for UTF-8
}

// charsets are the supported charsets. As in browsers, ISO 8859-1 is decoded as its superset Windows-1252, and UTF-16
// is little-endian without a byte order mark (https://encoding.spec.whatwg.org/#names-and-labels).
var charsets = []charset{
	{"utf-8", []string{"utf8", "us-ascii", "ascii"}, nil},
	{"utf-16", []string{"utf16", "ucs-2", "unicode"}, utf16Decoder{}},
	{"utf-16le", []string{"utf16le", "ucs-2le"}, utf16Decoder{}},
	{"utf-16be", []string{"utf16be", "ucs-2be"}, utf16Decoder{bigEndian: true}},
	{"windows-1252", []string{"windows1252", "cp1252", "cp-1252", "x-cp1252", "ansi"}, oneByte(charmap.Windows1252)},
	{"iso-8859-1", []string{"latin1", "latin-1", "iso8859-1", "iso_8859-1", "iso88591", "l1"},
		oneByte(charmap.Windows1252)},
	{"iso-8859-2", []string{"latin2", "latin-2", "iso8859-2", "iso_8859-2", "iso88592", "l2"}, oneByte(charmap.ISO8859_2)},
	{"iso-8859-15", []string{"latin9", "latin-9", "iso8859-15", "iso_8859-15", "iso885915", "l9"},
		oneByte(charmap.ISO8859_15)},
	{"windows-1250", []string{"windows1250", "cp1250", "cp-1250", "x-cp1250"}, oneByte(charmap.Windows1250)},
	{"windows-1251", []string{"windows1251", "cp1251", "cp-1251", "x-cp1251"}, oneByte(charmap.Windows1251)},
	{"windows-1253", []string{"windows1253", "cp1253", "cp-1253", "x-cp1253"}, oneByte(charmap.Windows1253)},
	{"windows-1254", []string{"windows1254", "cp1254", "cp-1254", "x-cp1254"}, oneByte(charmap.Windows1254)},
	{"ibm437", []string{"cp437", "437"}, oneByte(charmap.CodePage437)},
	{"ibm850", []string{"cp850", "850"}, oneByte(charmap.CodePage850)},
	{"macintosh", []string{"mac", "macroman", "mac-roman", "x-mac-roman"}, oneByte(charmap.Macintosh)},
}

// Charsets returns the names of the charsets that an uploader can declare.
func Charsets() []string {
	names := make([]string, len(charsets))
	for i, c := range charsets {
		names[i] = c.name
	}
	return names
}

func charsetOf(name string) (charset, bool) {
	name = strings.ToLower(strings.TrimSpace(name))
	i := slices.IndexFunc(charsets, func(c charset) bool { return name == c.name || slices.Contains(c.aliases, name) })
	if i < 0 {
		return charset{}, false
	}
	return charsets[i], true
}

// decodeText converts s.plain to UTF-8. The charset is that of the byte order mark, or else the declared one, or else
// UTF-8. Lines, columns and offsets are then those in UTF-8.
func (s *source) decodeText(declared charset) error {
	head, err := s.head(maxMark)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(head, []byte(markUTF32LE)) || bytes.HasPrefix(head, []byte(markUTF32BE)) {
		bad := mismatch("the file is in UTF-32; save it as UTF-8")
		bad.Failure.Line, bad.Failure.Column = 1, 1
		return bad
	}
	_, marked := markOf(head)
	if s.charset, s.marked = charsetOf(marked); !s.marked {
		s.charset = declared
	}
	s.plain = io.MultiReader(bytes.NewReader(head), s.plain)
	if s.converted() {
		s.plain = transform.NewReader(&chunks{in: s.plain}, s.charset.decoder)
	}
	return nil
}

// converted reports whether the file has another charset than UTF-8.
func (s *source) converted() bool { return s.charset.decoder != nil }

// nameCharset adds the charset to the reason of a FileError, because the fault may be a wrong declaration.
func (s *source) nameCharset(err error) error {
	var bad *FileError
	if s.converted() && errors.As(err, &bad) {
		bad.Failure.Reason += " (the file is read as " + s.charset.name + ")"
	}
	return err
}

// checkEnd returns bad, or the better reason that the file ends in the middle of a character.
func (s *source) checkEnd(row []byte, bad *events.RowError) *events.RowError {
	if s.converted() && bytes.HasSuffix(row, []byte{halfCharacter}) &&
		(bad.Code == events.MalformedRow || bad.Code == events.InvalidUTF8) {
		return rowError(events.InvalidUTF8, "the row ends with %s; %s", s.half(), createAgain)
	}
	return bad
}

const (
	createAgain = "the file was truncated, so create it again and upload it"
	saveAsUTF8  = "save the file as UTF-8"
)

func (s *source) half() string { return "half of a character in " + s.charset.name }

// invalidText rejects a row because its field subject has bytes that are not characters in the charset.
func (s *source) invalidText(subject string) *events.RowError {
	if !s.converted() {
		return rowError(events.InvalidUTF8, "%s%s", subject, events.NotUTF8)
	}
	return rowError(events.InvalidUTF8, "%s has bytes that are not characters in %s, the charset of the file; %s",
		subject, s.charset.name, s.invalidFix())
}

func (s *source) invalidFix() string {
	if s.marked {
		return "correct the bytes, or save the file as UTF-8"
	}
	return "correct the bytes, or declare the correct charset"
}

// invalidByte describes a byte that is not a character in the charset, like [source.character].
func (s *source) invalidByte(b byte) (name, advice string) {
	switch {
	case !s.converted():
		return fmt.Sprintf("the byte 0x%02X (not UTF-8)", b), saveAsUTF8
	case b == halfCharacter:
		return s.half(), createAgain
	}
	return "a byte that is not a character in " + s.charset.name, s.invalidFix()
}

// head reads the first n bytes of s.plain, or all if there are fewer.
func (s *source) head(n int) ([]byte, error) {
	head := make([]byte, 0, n)
	for len(head) < n {
		m, err := s.plain.Read(head[len(head):n])
		head = head[:len(head)+m]
		if isEnd(err) && s.body.err == nil {
			break
		}
		if err != nil {
			return nil, s.explain(err)
		}
	}
	return head, nil
}

// The decoders write these bytes, which are invalid in UTF-8 and cause the row to be rejected. The decoders of
// golang.org/x/text write U+FFFD, which would silently change names.
const (
	notText       = 0xff // instead of bytes that are not a character
	halfCharacter = 0xfe // if the file ends in the middle of a UTF-16 character
)

// utf16Decoder converts UTF-16 to UTF-8.
type utf16Decoder struct {
	transform.NopResetter
	bigEndian bool
}

func (d utf16Decoder) unit(src []byte) rune {
	if d.bigEndian {
		return rune(src[0])<<8 | rune(src[1])
	}
	return rune(src[1])<<8 | rune(src[0])
}

// Transform implements [transform.Transformer].
func (d utf16Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		rest := src[nSrc:]
		r, size := rune(utf8.RuneError), min(2, len(rest))
		invalid := len(rest) < 2
		if !invalid {
			r = d.unit(rest)
			if invalid = utf16.IsSurrogate(r); invalid && len(rest) >= 4 {
				if pair := utf16.DecodeRune(r, d.unit(rest[2:])); pair != utf8.RuneError {
					r, size, invalid = pair, 4, false
				}
			}
		}
		if invalid && len(rest) < 4 && !atEOF {
			return nDst, nSrc, transform.ErrShortSrc
		}
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		if invalid {
			dst[nDst] = notText
			if len(rest) < 4 && (size == 1 || r < 0xdc00) { // half of a code unit, or the first half of a pair
				dst[nDst] = halfCharacter
			}
			nDst++
		} else {
			nDst += utf8.EncodeRune(dst[nDst:], r)
		}
		nSrc += size
	}
	return nDst, nSrc, nil
}

func oneByte(c *charmap.Charmap) byteDecoder { return byteDecoder{charmap: c} }

// byteDecoder converts an encoding with one byte per character to UTF-8.
type byteDecoder struct {
	transform.NopResetter
	charmap *charmap.Charmap
}

// Transform implements [transform.Transformer].
func (d byteDecoder) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		if r := d.charmap.DecodeByte(src[nSrc]); r == utf8.RuneError {
			dst[nDst] = notText
			nDst++
		} else {
			nDst += utf8.EncodeRune(dst[nDst:], r)
		}
		nSrc++
	}
	return nDst, nSrc, nil
}
