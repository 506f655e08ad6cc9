package events_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

func TestCleanName(t *testing.T) {
	const e = "\u00e9"
	const scotland = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f" // a flag, of tag characters
	for name, tt := range map[string]struct {
		in   string
		want string
		code events.Code
	}{
		"plain":                          {in: "andy", want: "andy"},
		"spaces inside":                  {in: "mint  chocolate chip", want: "mint  chocolate chip"},
		"spaces outside":                 {in: "  andy ", want: "andy"},
		"tabs and line ends outside":     {in: "\t andy\r\n", want: "andy"},
		"quote and backslash":            {in: ` "a\b" `, want: `"a\b"`},
		"composed":                       {in: "caf" + e, want: "caf" + e},
		"decomposed":                     {in: "cafe\u0301", want: "caf" + e},
		"marks in another order":         {in: "q\u0307\u0323", want: "q\u0323\u0307"},
		"Hangul of jamo":                 {in: "\u1112\u1161\u11ab", want: "한"},
		"a sign that NFC replaces":       {in: "\u212bngström", want: "Ångström"},
		"NFC, not NFKC":                  {in: "ﬁg ²", want: "ﬁg ²"},
		"no-break space outside":         {in: "\u00a0andy\u00a0", want: "andy"},
		"no-break space inside":          {in: "rocky\u00a0road", want: "rocky\u00a0road"},
		"byte order mark":                {in: "\ufeffandy", want: "andy"},
		"byte order mark, then space":    {in: "\ufeff andy", want: "andy"},
		"byte order mark inside":         {in: "an\ufeffdy", want: "an\ufeffdy"},
		"zero-width space outside":       {in: "\u200b andy \u200b", want: "andy"},
		"zero-width space inside":        {in: "an\u200bdy", want: "an\u200bdy"},
		"ideographic space outside":      {in: "\u3000安迪\u3000", want: "安迪"},
		"en quad, a space that NFC maps": {in: "\u2000andy\u2001", want: "andy"},
		"line separator outside":         {in: "andy\u2028", want: "andy"},
		"next line outside":              {in: "andy\u0085", want: "andy"},
		"emoji":                          {in: "🍦", want: "🍦"},
		"emoji with joiners":             {in: "👩🏽\u200d🍳", want: "👩🏽\u200d🍳"},
		"emoji with variation selector":  {in: "❤\ufe0f", want: "❤\ufe0f"},
		"right to left":                  {in: "שוקולד מריר", want: "שוקולד מריר"},
		"right to left with digits":      {in: "بستنی\u200c۲", want: "بستنی\u200c۲"},
		"soft hyphen inside":             {in: "Donau\u00addampf", want: "Donau\u00addampf"},
		"word joiner inside":             {in: "a\u2060b", want: "a\u2060b"},
		"invisible characters outside":   {in: "\u2060a\ufe0f", want: "\u2060a\ufe0f"},
		"flag of tag characters":         {in: scotland, want: scotland},
		"Arabic number sign":             {in: "\u0600", want: "\u0600"},
		"combining mark alone":           {in: "\u0301", want: "\u0301"},
		"direction mark":                 {in: "a\u200fb", want: "a\u200fb"},
		"mark after trimmed space":       {in: " \u0301a", want: "\u0301a"},
		"replacement character":          {in: "caf\ufffd", want: "caf\ufffd"},
		"31 marks": {in: "q" + strings.Repeat("\u0301", 31), want: "q" + strings.Repeat("\u0301", 30) +
			"\u034f\u0301"},
		"markup is text":          {in: "<b>&amp;'", want: "<b>&amp;'"},
		"256 bytes":               {in: strings.Repeat("a", 256), want: strings.Repeat("a", 256)},
		"256 bytes when trimmed":  {in: " " + strings.Repeat("a", 256) + " ", want: strings.Repeat("a", 256)},
		"256 bytes of two each":   {in: strings.Repeat(e, 128), want: strings.Repeat(e, 128)},
		"256 bytes when composed": {in: strings.Repeat("e\u0301", 128), want: strings.Repeat(e, 128)},

		"257 bytes":                   {in: strings.Repeat("a", 257), code: events.TooLong},
		"258 bytes of two each":       {in: strings.Repeat(e, 129), code: events.TooLong},
		"258 bytes when decomposed":   {in: strings.Repeat("\u0958", 43), code: events.TooLong}, // 129 bytes before
		"empty":                       {in: "", code: events.MissingPerson},
		"only spaces":                 {in: "   ", code: events.MissingPerson},
		"only invisible":              {in: "\ufeff\u200b\u00a0\t", code: events.MissingPerson},
		"word joiner":                 {in: "\u2060", code: events.MissingPerson},
		"soft hyphen":                 {in: "\u00ad", code: events.MissingPerson},
		"zero-width joiner":           {in: "\u200d", code: events.MissingPerson},
		"zero-width non-joiner":       {in: "\u200c", code: events.MissingPerson},
		"variation selector":          {in: "\ufe0f", code: events.MissingPerson},
		"variation selector 17":       {in: "\U000e0100", code: events.MissingPerson},
		"Hangul filler":               {in: "\u3164", code: events.MissingPerson},
		"halfwidth Hangul filler":     {in: "\uffa0", code: events.MissingPerson},
		"Mongolian vowel separator":   {in: "\u180e", code: events.MissingPerson},
		"combining grapheme joiner":   {in: "\u034f", code: events.MissingPerson},
		"direction marks":             {in: "\u200e\u200f\u061c", code: events.MissingPerson},
		"Braille pattern blank":       {in: "\u2800\u2800", code: events.MissingPerson},
		"tag characters":              {in: "\U000e0001\U000e007f", code: events.MissingPerson},
		"invisible, with space":       {in: "\u2060 \u200b\u00ad", code: events.MissingPerson},
		"invalid byte":                {in: "an\xffdy", code: events.InvalidUTF8},
		"Latin-1":                     {in: "caf\xe9", code: events.InvalidUTF8},
		"cut off":                     {in: "\xe2\x82", code: events.InvalidUTF8},
		"surrogate":                   {in: "\xed\xa0\x80", code: events.InvalidUTF8},
		"overlong":                    {in: "\xc0\xaf", code: events.InvalidUTF8},
		"invalid and empty otherwise": {in: " \xff ", code: events.InvalidUTF8},
		"tab inside":                  {in: "an\tdy", code: events.ControlCharacter},
		"line end inside":             {in: "an\ndy", code: events.ControlCharacter},
		"NUL inside":                  {in: "an\x00dy", code: events.ControlCharacter},
		"NUL outside":                 {in: "andy\x00", code: events.ControlCharacter},
		"escape":                      {in: "\x1b[31mandy", code: events.ControlCharacter},
		"delete":                      {in: "an\x7fdy", code: events.ControlCharacter},
		"C1 control":                  {in: "an\u0090dy", code: events.ControlCharacter},
		"next line inside":            {in: "an\u0085dy", code: events.ControlCharacter},
		"line separator inside":       {in: "an\u2028dy", code: events.ControlCharacter},
		"paragraph separator inside":  {in: "an\u2029dy", code: events.ControlCharacter},
		"right-to-left override":      {in: "\u202eydna", code: events.ControlCharacter},
		"left-to-right embedding":     {in: "\u202aandy\u202c", code: events.ControlCharacter},
		"isolate":                     {in: "\u2068andy\u2069", code: events.ControlCharacter},
		"noncharacter U+FFFE":         {in: "an\ufffedy", code: events.ControlCharacter},
		"noncharacter U+FFFF":         {in: "\uffff", code: events.ControlCharacter},
		"noncharacter U+FDD0":         {in: "an\ufdd0dy", code: events.ControlCharacter},
	} {
		t.Run(name, func(t *testing.T) {
			got, bad := events.CleanName(tt.in, "person", events.MissingPerson)
			code := events.Code("")
			if bad != nil {
				code = bad.Code
				if !strings.HasPrefix(bad.Reason, "person ") || len(bad.Reason) > 110 {
					t.Errorf("reason = %q, want at most 110 bytes that begin with the field", bad.Reason)
				}
			}
			if got != tt.want || code != tt.code {
				t.Errorf("CleanName(%+q) = %+q, %q, want %+q, %q", tt.in, got, code, tt.want, tt.code)
			}
		})
	}
}

func TestForbiddenCharacters(t *testing.T) {
	all := []rune{'\x7f', '\u2028', '\u2029', '\u202a', '\u202b', '\u202c', '\u202d', '\u202e', '\u2066', '\u2067',
		'\u2068', '\u2069'}
	for r := rune(0); r < 0x20; r++ {
		all = append(all, r, r+0x80)
	}
	for r := rune(0xfdd0); r <= 0xfdef; r++ {
		all = append(all, r)
	}
	for plane := rune(0); plane <= 0x100000; plane += 0x10000 {
		all = append(all, plane+0xfffe, plane+0xffff)
	}
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		_, bad := events.CleanName("a"+string(r)+"b", "person", events.MissingPerson)
		if want := slices.Contains(all, r); want != (bad != nil) || bad != nil && bad.Code != events.ControlCharacter {
			t.Errorf("CleanName with %U inside: error %v, want one: %v", r, bad, want)
		}
	}
}

// visible reports whether r is not known to be invisible.
func visible(r rune) bool {
	ignorable := unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) ||
		unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r)
	return !ignorable && !unicode.IsSpace(r) && r != '\u2800'
}

// checkClean checks the documented properties of a result of CleanName.
func checkClean(t interface{ Fatalf(string, ...any) }, in string) {
	got, bad := events.CleanName(in, "flavor", events.MissingFlavor)
	if bad != nil {
		if got != "" || bad.Code == "" || bad.Reason == "" || bad.Error() != bad.Reason {
			t.Fatalf("CleanName(%+q) = %q, %+v: want no name, but a code and a reason", in, got, bad)
		}
		return
	}
	switch {
	case len(got) == 0 || len(got) > events.MaxName:
		t.Fatalf("CleanName(%+q) has %d bytes", in, len(got))
	case !utf8.ValidString(got):
		t.Fatalf("CleanName(%+q) = %+q is not UTF-8", in, got)
	case !norm.NFC.IsNormalString(got):
		t.Fatalf("CleanName(%+q) = %+q is not NFC", in, got)
	case strings.TrimSpace(got) != got:
		t.Fatalf("CleanName(%+q) = %+q has outer white space", in, got)
	case strings.ContainsFunc(got, unicode.IsControl):
		t.Fatalf("CleanName(%+q) = %+q has a control character", in, got)
	case !strings.ContainsFunc(got, visible):
		t.Fatalf("CleanName(%+q) = %+q has no visible character", in, got)
	}
	if again, bad := events.CleanName(got, "flavor", events.MissingFlavor); bad != nil || again != got {
		t.Fatalf("CleanName(%+q) = %+q, but CleanName of that = %+q, %v", in, got, again, bad)
	}
}

func TestCleanNameProperties(t *testing.T) {
	t.Run("text", rapid.MakeCheck(func(t *rapid.T) { checkClean(t, text().Draw(t, "text")) }))
	// Canonically equivalent texts are the same name.
	t.Run("equivalents", rapid.MakeCheck(func(t *rapid.T) {
		s := strings.ToValidUTF8(text().Draw(t, "text"), "")
		composed, bad1 := events.CleanName(norm.NFC.String(s), "flavor", events.MissingFlavor)
		decomposed, bad2 := events.CleanName(norm.NFD.String(s), "flavor", events.MissingFlavor)
		if composed != decomposed || (bad1 == nil) != (bad2 == nil) {
			t.Fatalf("CleanName(%+q): composed %+q, %v, decomposed %+q, %v, want the same", s, composed, bad1, decomposed, bad2)
		}
	}))
	t.Run("every character", func(t *testing.T) {
		for r := range rune(0x33480) { // almost all higher code points are unassigned
			checkClean(t, string(r)+"a"+string(r))
		}
		for r := rune(0xe0000); r < 0xe0200; r++ { // tags and variation selectors
			checkClean(t, string(r)+"a"+string(r))
		}
	})
}
