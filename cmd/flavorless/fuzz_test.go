package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/local"
)

// FuzzPrintable: printed text can't move the cursor, change the direction of other text, or break a table.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"andy", "\x1b[2J", "a\r\nb\tc", "\u202egnp.exe", "\u2066\u2028", "\xff\xfe", "\u009b1m",
		"Zoë 🍦"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool {
			return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) || changesDirection(r)
		}) {
			t.Errorf("printable(%q) = %q, want no control or direction characters", s, got)
		}
		if printable(got) != got {
			t.Errorf("printable(%q) = %q, want it unchanged by printable, got %q", s, got, printable(got))
		}
	})
}

// FuzzDisplayName: different names are printed differently.
func FuzzDisplayName(f *testing.F) {
	for _, s := range []string{"a.csv", "a.csv ", " a.csv", "a\x01.csv", `a\x01.csv`, "\"a\"", "caf\xe9.csv", "zoë 🍦.csv",
		"a\u202eb", "a\nb", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := displayName(s)
		if printable(got) != got {
			t.Errorf("shown(%q) = %q, want a printable text", s, got)
		}
		if back, err := strconv.Unquote(got); got != s && (err != nil || back != s) {
			t.Errorf("shown(%q) = %q, which unquotes to %q (%v), want the name", s, got, back, err)
		}
		if got == s && strings.TrimSpace(s) != s {
			t.Errorf("shown(%q) = the name itself, want quotes around the space at its end", s)
		}
	})
}

func changesDirection(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// FuzzRejectTables: a report is printed up to its end or its first invalid line, with at least one line for each row.
func FuzzRejectTables(f *testing.F) {
	const line = `{"line":2,"column":1,"offset":14,"code":"missing_person","reason":"person is empty",` +
		`"raw":",\u202e\u001b\t\n"}` + "\n"
	for _, s := range []string{"", line, line + line + "{", "null\n", "[]", `{"line":"x"}`, line[:40],
		line + `{"truncated":true,"omitted":5,"message":"why"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, report []byte) {
		var out bytes.Buffer
		_, err := (&terminal{out: &out}).rejectTables(bytes.NewReader(report))
		want := 0
		in := json.NewDecoder(bytes.NewReader(report))
		var decodeErr error
		for decodeErr == nil {
			var r reportLine
			if decodeErr = in.Decode(&r); decodeErr == nil && !r.Truncated {
				want++
			}
		}
		if (err == nil) != errors.Is(decodeErr, io.EOF) {
			t.Errorf("rejectTables = %v, want an error if encoding/json has one, which is %v", err, decodeErr)
		}
		text := out.String()
		if lines := strings.Count(text, "\n"); want > 0 && lines < want ||
			strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""),
				func(r rune) bool { return unicode.IsControl(r) || changesDirection(r) }) {
			t.Errorf("rejectTables prints %q, want at least %d lines without control characters", text, want)
		}
	})
}

// FuzzNextPage: no Link header makes the client send the token to another host.
func FuzzNextPage(f *testing.F) {
	for _, link := range []string{
		`</team?after=andy&limit=2>; rel="next"`, `<//evil.example/team>; rel="next"`,
		`<http://127.0.0.1:8080@evil.example/>; rel="next"`, `<http://127.0.0.1:8080/base/team>;rel="next"`,
		`<../team>; rel="next"`, `<%zz>; rel="next"`, `</team>; rel="prev"`, `<`, `<\evil.example>; rel="next"`,
		`<javascript:x>; rel="next"`, `</base/team?after=%00#x>; rel="next"`,
	} {
		f.Add(link, true)
		f.Add(link, false)
	}
	f.Fuzz(func(t *testing.T, link string, based bool) {
		base := "http://127.0.0.1:8080"
		if based {
			base += "/base/"
		}
		asked, err := url.Parse(strings.TrimSuffix(base, "/") + "/team?limit=2")
		if err != nil {
			t.Fatal(err)
		}
		c := &connection{info: local.Info{API: base}}
		route, err := c.nextPage(&http.Response{Header: http.Header{"Link": {link}}, Request: &http.Request{URL: asked}})
		if err != nil || route == "" {
			if route != "" {
				t.Errorf("nextPage = %q, %v; want no route with an error", route, err)
			}
			return
		}
		next, err := url.Parse(strings.TrimSuffix(base, "/") + route)
		if err != nil || next.Host != "127.0.0.1:8080" || next.User != nil || next.Scheme != "http" || based &&
			!strings.HasPrefix(next.EscapedPath(), "/base/") {
			t.Errorf("nextPage of %q = %q (%v), want a URL below %s", link, next, err, base)
		}
	})
}

// FuzzProblem: every unexpected answer becomes a printable error of limited length.
func FuzzProblem(f *testing.F) {
	f.Add([]byte(`{"type":"about:blank","title":"Not Found","status":404,"detail":"nobody"}`), 404)
	f.Add([]byte("<html>\x1b[2J"), 502)
	f.Add([]byte(`{"title":5}`), 401)
	f.Add([]byte(`{"title":"\u001b[2J"}`), 500)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		res := &http.Response{Status: "500 Oh", StatusCode: status, Header: http.Header{},
			Body: io.NopCloser(bytes.NewReader(body))}
		err := (&connection{}).problem(res)
		if err == nil || err.Error() == "" || len(err.Error()) > 256<<10 {
			t.Errorf("problem = %v, want an error with at most 256 KiB of text", err)
		}
		if strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("problem = %q, want no control characters", err)
		}
	})
}

// FuzzDetectName: every input gets a name with a known format, and no byte of it is consumed.
func FuzzDetectName(f *testing.F) {
	for _, s := range []string{"", "person,flavor\n", "\ufeff [", "{\"a\":\n{", "{}\n{}", "\x1f\x8b", "\x28\xb5\x2f\xfd"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		in := bufio.NewReader(bytes.NewReader(content))
		if _, err := ingest.FileTypeOf(detectName(in)); err != nil {
			t.Errorf("FileTypeOf of the detected name = %v, want nil", err)
		}
		if rest, err := io.ReadAll(in); err != nil || !bytes.Equal(rest, content) {
			t.Errorf("after detectName, the input is %q (%v), want %q", rest, err, content)
		}
	})
}
