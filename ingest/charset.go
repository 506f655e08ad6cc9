package ingest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"

	"github.com/flavorless/flavorless/events"
)

// Byte order marks. The one of UTF-32 begins like that of UTF-16.
const (
	markUTF8    = "\xef\xbb\xbf"
	markUTF16LE = "\xff\xfe"
	markUTF16BE = "\xfe\xff"
	markUTF32LE = "\xff\xfe\x00\x00"
	markUTF32BE = "\x00\x00\xfe\xff"

	markSize = len(markUTF32LE)
)

// marks are the names of the encodings that byte order marks stand for.
var marks = map[string]string{markUTF8: "utf-8", markUTF16LE: "utf-16le", markUTF16BE: "utf-16be"}

// markOf returns the byte order mark that the head of a file has, or "".
func markOf(head []byte) string {
	for mark := range marks {
		if bytes.HasPrefix(head, []byte(mark)) {
			return mark
		}
	}
	return ""
}

// ToUTF8 returns what the head of a file says in UTF-8, without the byte order mark that tells its encoding.
func ToUTF8(head []byte) []byte {
	mark := markOf(head)
	c, _ := charsetOf(marks[mark])
	head = head[len(mark):]
	if c.decoder == nil {
		return head
	}
	text, _, _ := transform.Bytes(c.decoder, head) // it returns no error
	return text
}

// charset is an encoding that an uploader can declare.
type charset struct {
	name    string   // in messages and help
	others  []string // other names of it
	decoder transform.Transformer
}

// charsets: as in browsers, ISO 8859-1 is read as its superset Windows-1252, and UTF-16 is little-endian unless a byte order
// mark says otherwise (https://encoding.spec.whatwg.org/#names-and-labels).
var charsets = []charset{
	{"utf-8", []string{"utf8", "us-ascii", "ascii"}, nil},
	{"utf-16", []string{"utf16", "ucs-2", "unicode"}, utf16Decoder{}},
	{"utf-16le", []string{"utf16le", "ucs-2le"}, utf16Decoder{}},
	{"utf-16be", []string{"utf16be", "ucs-2be"}, utf16Decoder{bigEndian: true}},
	{"windows-1252", []string{"windows1252", "cp1252", "cp-1252", "x-cp1252", "ansi"}, byteDecoder{charmap: charmap.Windows1252}},
	{"iso-8859-1", []string{"latin1", "latin-1", "iso8859-1", "iso_8859-1", "iso88591", "l1"}, byteDecoder{charmap: charmap.Windows1252}},
	{"iso-8859-2", []string{"latin2", "latin-2", "iso8859-2", "iso_8859-2", "iso88592", "l2"}, byteDecoder{charmap: charmap.ISO8859_2}},
	{"iso-8859-15", []string{"latin9", "latin-9", "iso8859-15", "iso_8859-15", "iso885915", "l9"}, byteDecoder{charmap: charmap.ISO8859_15}},
	{"windows-1250", []string{"windows1250", "cp1250", "cp-1250", "x-cp1250"}, byteDecoder{charmap: charmap.Windows1250}},
	{"windows-1251", []string{"windows1251", "cp1251", "cp-1251", "x-cp1251"}, byteDecoder{charmap: charmap.Windows1251}},
	{"windows-1253", []string{"windows1253", "cp1253", "cp-1253", "x-cp1253"}, byteDecoder{charmap: charmap.Windows1253}},
	{"windows-1254", []string{"windows1254", "cp1254", "cp-1254", "x-cp1254"}, byteDecoder{charmap: charmap.Windows1254}},
	{"ibm437", []string{"cp437", "437"}, byteDecoder{charmap: charmap.CodePage437}},
	{"ibm850", []string{"cp850", "850"}, byteDecoder{charmap: charmap.CodePage850}},
	{"macintosh", []string{"mac", "macroman", "mac-roman", "x-mac-roman"}, byteDecoder{charmap: charmap.Macintosh}},
}

// Charsets returns the names of the encodings that an uploader can declare.
func Charsets() []string {
	names := make([]string, len(charsets))
	for i, c := range charsets {
		names[i] = c.name
	}
	return names
}

func charsetOf(name string) (charset, bool) {
	name = strings.ToLower(strings.TrimSpace(name))
	i := slices.IndexFunc(charsets, func(c charset) bool { return name == c.name || slices.Contains(c.others, name) })
	if i < 0 {
		return charset{}, false
	}
	return charsets[i], true
}

// decodeText makes s.plain UTF-8. A byte order mark tells the encoding; without one it is what the uploader declared, or UTF-8.
// Line, column and offset of a row are those in UTF-8 from then on.
func (s *source) decodeText(declared charset) error {
	head, err := s.head(markSize)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(head, []byte(markUTF32LE)) || bytes.HasPrefix(head, []byte(markUTF32BE)) {
		bad := failure(events.FormatMismatch, "the file is in UTF-32; save it as UTF-8")
		bad.Failure.Line, bad.Failure.Column = 1, 1
		return bad
	}
	if s.charset, s.marked = charsetOf(marks[markOf(head)]); !s.marked {
		s.charset = declared
	}
	s.plain = io.MultiReader(bytes.NewReader(head), s.plain)
	if s.charset.decoder != nil {
		s.plain = transform.NewReader(&chunks{in: s.plain}, s.charset.decoder)
	}
	return nil
}

// readAs adds to the reason of a failure how the file was read, if not as UTF-8: the declaration may be what is wrong.
func (s *source) readAs(err error) error {
	var bad *FileError
	if s.charset.decoder != nil && errors.As(err, &bad) {
		bad.Failure.Reason = s.reason(bad.Failure.Reason) + " (the file is read as " + s.charset.name + ")"
	}
	return err
}

// reject returns why a row is rejected, in terms of the charset that the file is read as. Row is the row in UTF-8.
func (s *source) reject(row []byte, bad *events.RowError) *events.RowError {
	if s.charset.decoder == nil {
		return bad
	}
	if bytes.HasSuffix(row, []byte{halfCharacter}) && (bad.Code == events.MalformedRow || bad.Code == events.InvalidUTF8) {
		return &events.RowError{Code: events.InvalidUTF8, Reason: s.endsInHalf()}
	}
	return &events.RowError{Code: bad.Code, Reason: s.reason(bad.Reason)}
}

// reason changes a reason that speaks of UTF-8, because the decoders write bytes that are not UTF-8 for what is not a character.
func (s *source) reason(reason string) string {
	if strings.Contains(reason, byteName(halfCharacter)) {
		return s.endsInHalf()
	}
	fix := "correct the bytes, or declare the right charset"
	if s.marked {
		fix = "correct the bytes, or save the file as UTF-8"
	}
	return strings.NewReplacer(
		events.NotUTF8, " has bytes that are not characters in "+s.charset.name+", the charset that the file is read as; "+fix,
		byteName(notText), "a byte that is not a character in "+s.charset.name,
		saveAsUTF8, fix,
	).Replace(reason)
}

func (s *source) endsInHalf() string {
	return "the file ends in half a character of " + s.charset.name + "; it was cut off, so make and upload it again"
}

// head reads the first bytes of s.plain: n, or all if there are fewer.
func (s *source) head(n int) ([]byte, error) {
	head := make([]byte, 0, n)
	for len(head) < n {
		m, err := s.plain.Read(head[len(head):n])
		head = head[:len(head)+m]
		if err == io.EOF && s.body.err == nil { //nolint:errorlint // readers give it bare
			break
		}
		if err != nil {
			return nil, s.explain(err)
		}
	}
	return head, nil
}

// notText is what the decoders below write in place of bytes that stand for no character. It is no UTF-8, so the row is
// rejected. The decoders of golang.org/x/text write U+FFFD, which would change names silently. They write halfCharacter, which
// is not UTF-8 either, where the file ends in the middle of a character of UTF-16.
const (
	notText       = 0xff
	halfCharacter = 0xfe
)

// utf16Decoder is a [transform.Transformer] from UTF-16 to UTF-8.
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
			if len(rest) < 4 && (size == 1 || r < 0xdc00) { // half a code unit, or the first half of a pair
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

// byteDecoder is a [transform.Transformer] from an encoding of one byte per character to UTF-8.
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
