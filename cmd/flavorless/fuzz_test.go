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

// FuzzVisible: what is printed of a file can't move the cursor, turn the text around it, or break a table.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"andy", "\x1b[2J", "a\r\nb\tc", "\u202egnp.exe", "\u2066\u2028", "\xff\xfe", "\u009b1m", "Zoë 🍦"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := visible(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) || turns(r) }) {
			t.Errorf("%q is printed as %q", s, got)
		}
		if visible(got) != got {
			t.Errorf("%q is printed as %q, and that as %q", s, got, visible(got))
		}
	})
}

// FuzzShown: a name is printed in a form that tells it from every other name.
func FuzzShown(f *testing.F) {
	for _, s := range []string{"a.csv", "a.csv ", " a.csv", "a\x01.csv", `a\x01.csv`, "\"a\"", "caf\xe9.csv", "zoë 🍦.csv", "a\u202eb", "a\nb", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := shown(s)
		if visible(got) != got {
			t.Errorf("shown(%q) = %q, which can't be seen", s, got)
		}
		if back, err := strconv.Unquote(got); got != s && (err != nil || back != s) {
			t.Errorf("shown(%q) = %q, which is %q (%v)", s, got, back, err)
		}
		if got == s && strings.TrimSpace(s) != s {
			t.Errorf("shown(%q) does not show the space at an end", s)
		}
	})
}

func turns(r rune) bool { return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' }

// FuzzRejectTables: a report is printed to its end or to its fault, a line for each row.
func FuzzRejectTables(f *testing.F) {
	const line = `{"line":2,"column":1,"offset":14,"code":"missing_person","reason":"person is empty","raw":",\u202e\u001b\t\n"}` + "\n"
	for _, s := range []string{"", line, line + line + "{", "null\n", "[]", `{"line":"x"}`, line[:40], line + `{"truncated":true,"omitted":5,"message":"why"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, report []byte) {
		var out bytes.Buffer
		_, err := (&terminal{out: &out}).rejectTables(bytes.NewReader(report))
		want := 0
		in := json.NewDecoder(bytes.NewReader(report))
		var fault error
		for fault == nil {
			var r reportLine
			if fault = in.Decode(&r); fault == nil && !r.Truncated {
				want++
			}
		}
		if (err == nil) != errors.Is(fault, io.EOF) {
			t.Errorf("%v, but encoding/json says %v", err, fault)
		}
		text := out.String()
		if lines := strings.Count(text, "\n"); want > 0 && lines < want || strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), func(r rune) bool { return unicode.IsControl(r) || turns(r) }) {
			t.Errorf("%d rows are printed as %q", want, text)
		}
	})
}

// FuzzNextPage: the token goes to no other host than the one that it is for, whatever a Link header names.
func FuzzNextPage(f *testing.F) {
	for _, link := range []string{
		`</team?after=andy&limit=2>; rel="next"`, `<//evil.example/team>; rel="next"`, `<http://127.0.0.1:8080@evil.example/>; rel="next"`, `<http://127.0.0.1:8080/base/team>;rel="next"`,
		`<../team>; rel="next"`, `<%zz>; rel="next"`, `</team>; rel="prev"`, `<`, `<\evil.example>; rel="next"`, `<javascript:x>; rel="next"`, `</base/team?after=%00#x>; rel="next"`,
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
				t.Errorf("%q came with %v", route, err)
			}
			return
		}
		next, err := url.Parse(strings.TrimSuffix(base, "/") + route)
		if err != nil || next.Host != "127.0.0.1:8080" || next.User != nil || next.Scheme != "http" || based && !strings.HasPrefix(next.EscapedPath(), "/base/") {
			t.Errorf("%q leads to %q (%v)", link, next, err)
		}
	})
}

// FuzzProblem: whatever a server answers instead of what it was asked for is an error that says something, within bounds.
func FuzzProblem(f *testing.F) {
	f.Add([]byte(`{"type":"about:blank","title":"Not Found","status":404,"detail":"nobody"}`), 404)
	f.Add([]byte("<html>\x1b[2J"), 502)
	f.Add([]byte(`{"title":5}`), 401)
	f.Add([]byte(`{"title":"\u001b[2J"}`), 500)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		res := &http.Response{Status: "500 Oh", StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}
		err := (&connection{}).problem(res)
		if err == nil || err.Error() == "" || len(err.Error()) > 256<<10 {
			t.Errorf("%v", err)
		}
		if strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("%q would be printed", err)
		}
	})
}

// FuzzGuess: standard input is read as something, whatever it is, and all of it.
func FuzzGuess(f *testing.F) {
	for _, s := range []string{"", "person,flavor\n", "\ufeff [", "{\"a\":\n{", "{}\n{}", "\x1f\x8b", "\x28\xb5\x2f\xfd"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		in := bufio.NewReader(bytes.NewReader(content))
		if _, err := ingest.FileTypeOf(guess(in)); err != nil {
			t.Error(err)
		}
		if rest, err := io.ReadAll(in); err != nil || !bytes.Equal(rest, content) {
			t.Errorf("%q is left of %q (%v)", rest, content, err)
		}
	})
}
