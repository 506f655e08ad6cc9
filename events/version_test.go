package events_test

import (
	"cmp"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// compareRows compares rows by time, sequencer, upload id and offset.
func compareRows(a, b events.Object, offsetA, offsetB int64) int {
	x, y := strings.ToLower(a.Sequencer), strings.ToLower(b.Sequencer)
	x += strings.Repeat("0", max(0, len(y)-len(x)))
	y += strings.Repeat("0", max(0, len(x)-len(y)))
	return cmp.Or(
		cmp.Compare(a.Time.UnixMilli(), b.Time.UnixMilli()), cmp.Compare(x, y),
		cmp.Compare(a.UploadID(), b.UploadID()), cmp.Compare(offsetA, offsetB),
	)
}

func TestVersionOrder(t *testing.T) {
	width := len(mustOrigin(t, events.Object{Sequencer: "0", Time: time.UnixMilli(0)}).At(0))
	rapid.Check(t, func(t *rapid.T) {
		a, b := object().Draw(t, "a"), object().Draw(t, "b")
		if rapid.Bool().Draw(t, "same object") {
			b = a
		}
		i, j := offset().Draw(t, "i"), offset().Draw(t, "j")
		v, w := mustOrigin(t, a).At(i), mustOrigin(t, b).At(j)
		if len(v) != width || len(w) != width {
			t.Fatalf("%s and %s have %d and %d bytes, want %d", v, w, len(v), len(w), width)
		}
		if got, want := cmp.Compare(v, w), compareRows(a, b, i, j); got != want {
			t.Fatalf("cmp.Compare(%s, %s) = %d, want %d", v, w, got, want)
		}
		// Two rows share a version only if they are the same row of the same upload.
		if same := a.UploadID() == b.UploadID() && a.Time.UnixMilli() == b.Time.UnixMilli() && i == j; same != (v == w) {
			t.Fatalf("%s == %s is %v, but the rows are the same: %v", v, w, v == w, same)
		}
		if got, want := cmp.Compare(v.Origin(), w.Origin()), compareRows(a, b, 0, 0); got != want {
			t.Fatalf("origins of %s and %s: order %d, want %d", v, w, got, want)
		}
	})
}

func TestVersionParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o, at := object().Draw(t, "object"), offset().Draw(t, "offset")
		origin := mustOrigin(t, o)
		v := origin.At(at)
		parsed, err := events.ParseVersion(string(v))
		if err != nil || parsed != v {
			t.Fatalf("ParseVersion(%q) = %q, %v, want the same version", v, parsed, err)
		}
		parsedOrigin, err := events.ParseOrigin(string(origin))
		if err != nil || parsedOrigin != origin || v.Origin() != origin {
			t.Fatalf("ParseOrigin(%q) = %q, %v, and Origin() = %q, want the same", origin, parsedOrigin, err, v.Origin())
		}
		if v.Offset() != at || v.UploadID() != o.UploadID() || origin.UploadID() != o.UploadID() {
			t.Fatalf("%s: offset %d, upload %s, %s; want %d, %s", v, v.Offset(), v.UploadID(), origin.UploadID(), at,
				o.UploadID())
		}
		if want := o.Time.UTC().Truncate(time.Millisecond); !v.Time().Equal(want) || !origin.Time().Equal(want) ||
			v.Time().Location() != time.UTC {
			t.Fatalf("%s: time %s, %s; want %s", v, v.Time(), origin.Time(), want)
		}
	})
}

// TestParseVersion compares the parsers with regular expressions, on texts that are similar to versions.
func TestParseVersion(t *testing.T) {
	const origin = `([0-9a-f]{12})-[0-9a-f]{32}-[0-9a-hjkmnp-tv-z]{26}`
	isOrigin, isVersion := regexp.MustCompile(`\A`+origin+`\z`), regexp.MustCompile(`\A`+origin+`-[0-9a-f]{12}\z`)
	matches := func(r *regexp.Regexp, s string) bool {
		m := r.FindStringSubmatch(s)
		return m != nil && m[1] <= "e677d21fdbff"
	}
	rapid.Check(t, func(t *rapid.T) {
		s := string(version().Draw(t, "version"))
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			i := rapid.IntRange(0, len(s)).Draw(t, "at")
			cut := rapid.IntRange(0, min(1, len(s)-i)).Draw(t, "cut")
			put := rapid.OneOf(rapid.StringMatching(`[0-9a-zG\n\r=é -]?`),
				rapid.SampledFrom([]string{"", "\x00", "\xff"})).Draw(t, "put")
			s = s[:i] + put + s[i+cut:]
		}
		v, err := events.ParseVersion(s)
		if want := matches(isVersion, s); (err == nil) != want || want && string(v) != s || !want && v != "" {
			t.Fatalf("ParseVersion(%q) = %q, %v, want valid: %v", s, v, err, want)
		}
		s = s[:min(len(s), rapid.IntRange(71, 73).Draw(t, "length"))]
		o, err := events.ParseOrigin(s)
		if want := matches(isOrigin, s); (err == nil) != want || want && string(o) != s || !want && o != "" {
			t.Fatalf("ParseOrigin(%q) = %q, %v, want valid: %v", s, o, err, want)
		}
	})
}

func TestParseVersionRefuses(t *testing.T) {
	const good = "019aafdb549b-0055aed6dcd90281e500000000000000-68njr8w1hxtq9kdf2m7zc4vyp0-00000000002a"
	if _, err := events.ParseVersion(good); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"empty":                      "",
		"an origin":                  good[:72],
		"upper case":                 strings.ToUpper(good),
		"a letter too many":          good + "0",
		"a letter too few":           good[1:],
		"another separator":          strings.Replace(good, "-", "_", 1),
		"a sign in the time":         "-" + good[1:],
		"no hexadecimal time":        "g" + good[1:],
		"the year 10000":             "e677d21fdc00" + good[12:],
		"no hexadecimal sequencer":   good[:20] + "x" + good[21:],
		"an l in the upload id":      good[:50] + "l" + good[51:],
		"a line end in the id":       good[:71] + "\n" + good[72:],
		"no hexadecimal offset":      good[:84] + "g",
		"a sign in the offset":       good[:73] + "+" + good[74:],
		"not UTF-8":                  good[:84] + "\xff",
		"white space before":         " " + good[:84],
		"long enough to fill a page": strings.Repeat(good, 1000),
	} {
		t.Run(name, func(t *testing.T) {
			v, err := events.ParseVersion(s)
			if err == nil || v != "" || len(err.Error()) > 1000 {
				t.Errorf("ParseVersion(%q) = %q, %v, want an error of at most 1000 bytes", s, v, err)
			}
		})
	}
}

// TestPartsOfInvalidVersions checks that they are zero values.
func TestPartsOfInvalidVersions(t *testing.T) {
	for _, v := range []events.Version{"", "x", events.Version(strings.Repeat("z", 85)),
		events.Version(strings.Repeat("é", 42) + "x")} {
		if !v.Time().IsZero() || v.Offset() != 0 {
			t.Errorf("%q has time %s and offset %d, want zero values", v, v.Time(), v.Offset())
		}
		_ = v.UploadID() // must not panic
	}
	if o := events.Origin("short"); o.UploadID() != "" || !o.Time().IsZero() {
		t.Errorf("%q has upload id %q and time %s, want zero values", o, o.UploadID(), o.Time())
	}
}

func TestOrigin(t *testing.T) {
	at := time.Date(2026, 11, 23, 8, 19, 0, 123_999_999, time.FixedZone("", 3600))
	for name, tt := range map[string]struct {
		sequencer string
		at        time.Time
		want      string // prefix of the origin; empty if an error is wanted
	}{
		"upper case":             {"0055AED6DCD90281E5", at, "01a20745bb1b-0055aed6dcd90281e500000000000000-"},
		"odd length":             {"f", at, "01a20745bb1b-f0000000000000000000000000000000-"},
		"full length":            {strings.Repeat("7", 32), at, "01a20745bb1b-77777777777777777777777777777777-"},
		"longer ones are cut":    {strings.Repeat("7", 32) + "1", at, "01a20745bb1b-77777777777777777777777777777777-"},
		"the first time":         {"0", time.UnixMilli(0), "000000000000-"},
		"the last time":          {"0", time.UnixMilli(253402300799999), "e677d21fdbff-"},
		"no sequencer":           {"", at, ""},
		"not hexadecimal":        {"0055xyz", at, ""},
		"not hexadecimal at end": {strings.Repeat("7", 40) + "x", at, ""},
		"before 1970":            {"0", time.UnixMilli(-1), ""},
		"no time":                {"0", time.Time{}, ""},
		"after 9999":             {"0", time.UnixMilli(253402300800000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := events.Object{Bucket: "b", Key: "k", Sequencer: tt.sequencer, Time: tt.at.UTC()}
			origin, err := o.Origin()
			if (err == nil) != (tt.want != "") || (err != nil && origin != "") || !strings.HasPrefix(string(origin), tt.want) {
				t.Errorf("Origin() = %q, %v, want prefix %q", origin, err, tt.want)
			}
		})
	}
}
