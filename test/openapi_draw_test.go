package test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// often draws mostly from usual, and sometimes from one of the others.
func often[V any](usual *rapid.Generator[V], others ...*rapid.Generator[V]) *rapid.Generator[V] {
	return rapid.Custom(func(t *rapid.T) V {
		if i := rapid.IntRange(0, 3+len(others)).Draw(t, "which"); i > 3 {
			return others[i-4].Draw(t, "other")
		}
		return usual.Draw(t, "usual")
	})
}

// request draws a request that is mostly valid, with some parts that are not.
func (d *documented) request() *rapid.Generator[request] {
	paths := sortedKeys(d.doc.Paths.Map())
	return rapid.Custom(func(t *rapid.T) request {
		path := rapid.SampledFrom(paths).Draw(t, "path")
		item := d.doc.Paths.Value(path)
		operation := rapid.SampledFrom(sortedKeys(item.Operations())).Draw(t, "operation")
		parameters := append(append(openapi3.Parameters{}, item.Parameters...), item.Operations()[operation].Parameters...)
		r := request{
			method:  often(rapid.Just(operation), rapid.Just(http.MethodHead), rapid.SampledFrom(methods)).Draw(t, "method"),
			target:  d.target(path, parameters).Draw(t, "target"),
			version: often(rapid.Just("HTTP/1.1"), rapid.SampledFrom(versions)).Draw(t, "version"),
			headers: d.headers(parameters).Draw(t, "headers"),
		}
		body := often(rapid.Just(framing{}), rapid.SampledFrom(framings)).Draw(t, "framing")
		if body.header != "" {
			r.headers, r.body = append(r.headers, [2]string{body.header, body.value}), body.body
		}
		return r
	})
}

var (
	methods = []string{
		"OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get", "G\u00ebt", "", "M-SEARCH",
		strings.Repeat("X", 300),
	}
	versions = []string{"HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/1.9", "HTTP", ""}
	framings = []framing{
		{"Content-Length", "1", "x"}, {"Content-Length", "11", `{"limit":1}`}, {"Content-Length", "-1", ""},
		{"Content-Length", "x", ""}, {"Content-Length", "99999999999999999999", ""},
		{"Transfer-Encoding", "chunked", "0\r\n\r\n"}, {"Transfer-Encoding", "chunked", "1\r\nx\r\n0\r\n\r\n"},
		{"Transfer-Encoding", "gzip", ""}, {"Transfer-Encoding", "x", ""},
	}
)

// framing is a body with the header that says how long it is.
type framing struct{ header, value, body string }

// target draws a request target: a path with its query.
func (d *documented) target(path string, parameters openapi3.Parameters) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		for _, p := range parameters {
			if p.Value.In == openapi3.ParameterInPath {
				path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", d.segment(p.Value).Draw(t, p.Value.Name))
			}
		}
		path = often(rapid.Just(path), rapid.SampledFrom([]string{
			path + "/", path + "//", "/" + path, "/." + path, "/x/.." + path, strings.ToUpper(path), path + "/..",
			path + "/%2e%2e", path + "%00", path + ";v=1", "http://elsewhere" + path,
			strings.Replace(path, "e", "%65", 1), strings.Replace(path, "/", "%2F", 1), strings.Replace(path, "/", "\\", 1),
			path + "%", path + "%zz", path + "\u00e9", path + "#x", path + " x", "*", "", "/", "//", "?", "/x",
			"/" + strings.Repeat("a/", 3000), path + strings.Repeat("x", 10_000), path + strings.Repeat("x", 40_000),
		})).Draw(t, "path")
		return path + d.query(parameters).Draw(t, "query")
	})
}

// segment draws the value of a path parameter, escaped in one of several ways.
func (d *documented) segment(p *openapi3.Parameter) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := often(d.value(p), odd()).Draw(t, "value")
		return rapid.SampledFrom([]string{
			url.PathEscape(s), url.PathEscape(s), url.PathEscape(s), escapeAll(s), strings.ToLower(escapeAll(s)),
			url.QueryEscape(s), url.PathEscape(norm.NFD.String(s)), url.PathEscape(" " + s + "\t"), s,
		}).Draw(t, "escaped")
	})
}

func escapeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(s[i])|0x100, 16)[1:]))
	}
	return b.String()
}

// value draws a valid value of a parameter: one that the server has, or one that matches the schema.
func (d *documented) value(p *openapi3.Parameter) *rapid.Generator[string] {
	schema := p.Schema.Value
	if schema.Type.Is("array") {
		schema = schema.Items.Value
	}
	switch {
	case p.Name == "person" || p.Name == "after":
		return rapid.SampledFrom(names)
	case p.Name == "id" || p.Name == "before":
		return often(rapid.SampledFrom(d.uploads), rapid.StringMatching(schema.Pattern))
	case schema.Type.Is("integer"):
		least, most := 0.0, 1e6
		if schema.Min != nil {
			least = *schema.Min
		}
		if schema.Max != nil {
			most = *schema.Max
		}
		return rapid.Map(rapid.IntRange(int(least), int(most)), strconv.Itoa)
	case schema.Type.Is("boolean"):
		return rapid.SampledFrom([]string{"true", "false"})
	case len(schema.Enum) > 0:
		return rapid.Map(rapid.SampledFrom(schema.Enum), func(v any) string { s, _ := v.(string); return s })
	case schema.Pattern != "":
		return rapid.StringMatching(schema.Pattern)
	case schema.Format == "date-time":
		return rapid.Map(rapid.Int64Range(0, 4e9), func(seconds int64) string {
			return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
		})
	}
	return rapid.StringMatching(`[ -~]{1,20}`)
}

// odd draws values that are mostly invalid.
func odd() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom([]string{
		"", " ", "0", "-1", "+1", "01", "1e3", "1.0", "99999999999999999999", "NaN", "0x10", "\u0661", "null", "[]", "\x00",
		"a\x00b", "\r\nX: y", "\xff\xfe", "\u202e", "\ufeff", "%", "%s%n", "../../etc/passwd", "' OR 1=1 --", "<script>",
		"${jndi:x}", "\u0958\u0301", strings.Repeat("x", 257), strings.Repeat("x", 10_000), strings.Repeat("\u0301", 200),
	}), rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string { return string(b) }))
}

// query draws documented, unknown, repeated and malformed parameters.
func (d *documented) query(parameters openapi3.Parameters) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var parts []string
		for _, p := range parameters {
			if p.Value.In != openapi3.ParameterInQuery {
				continue
			}
			for range rapid.SampledFrom([]int{0, 0, 0, 1, 1, 1, 1, 2}).Draw(t, "times") {
				value := often(d.value(p.Value), odd()).Draw(t, p.Value.Name)
				parts = append(parts, p.Value.Name+"="+url.QueryEscape(value))
			}
		}
		parts = append(parts, often(rapid.Just([]string(nil)), rapid.SampledFrom([][]string{
			{"x=1"}, {"limit"}, {"Limit=1"}, {"limit%00=1"}, {"="}, {"&&"}, {"a;b"}, {"%zz"}, {"%"}, {"limit[]=1"},
			{"q=" + strings.Repeat("y", 9000)}, {"access_token=" + d.server.token},
		})).Draw(t, "more")...)
		if len(parts) == 0 {
			return rapid.SampledFrom([]string{"", "", "", "?"}).Draw(t, "none")
		}
		return "?" + strings.Join(parts, "&")
	})
}

// headers draws headers, mostly with the good token.
func (d *documented) headers(parameters openapi3.Parameters) *rapid.Generator[[][2]string] {
	good := "Bearer " + d.tokens["good"]
	bad := []string{
		"", "Bearer", "Bearer ", good + "x", "Bearer " + good, good + ", " + good, "Basic dGVzdDp0ZXN0", "Bearer a.b.c",
		"Bearer " + strings.Repeat("x", 9000), "Bearer \u00e9", "token",
	}
	for _, name := range sortedKeys(d.tokens) {
		if name != "good" {
			bad = append(bad, "Bearer "+d.tokens[name])
		}
	}
	nothing := rapid.Just([][2]string(nil))
	one := func(name string, values ...string) *rapid.Generator[[][2]string] {
		return rapid.Map(rapid.SampledFrom(values), func(v string) [][2]string { return [][2]string{{name, v}} })
	}
	two := func(name, first, second string) *rapid.Generator[[][2]string] {
		return rapid.Just([][2]string{{name, first}, {name, second}})
	}
	return rapid.Custom(func(t *rapid.T) (headers [][2]string) {
		add := func(label string, usual *rapid.Generator[[][2]string], others ...*rapid.Generator[[][2]string]) {
			headers = append(headers, often(usual, others...).Draw(t, label)...)
		}
		add("host", one("Host", "flavors.example"), nothing,
			one("Host", "", "a b", "x:99999", "[::1]:8080", "é"), two("Host", "a", "b"))
		add("authorization", one("Authorization", good),
			one("authorization", "bearer "+d.tokens["good"], "BEARER  "+d.tokens["good"]), nothing, one("Authorization", bad...),
			two("Authorization", good, good), two("Authorization", "Basic x", good))
		add("encoding", nothing,
			one("Accept-Encoding", "gzip", "gzip;q=0", "*", "*;q=0", "identity;q=0", "br, zstd", "gzip;q=x", "", ","))
		add("condition", nothing,
			one("If-None-Match", "*", `"x"`, `W/"x", "y`, `"`, "x", strings.Repeat(`"x",`, 500)))
		add("others", nothing,
			one("Range", "bytes=0-0", "bytes=9-1", "x"), one("Origin", "https://elsewhere.example", "null", "é"),
			one("Accept", "text/html", "application/xml", "text/event-stream", ";"),
			one("Expect", "100-continue", "200-ok"), one("X-HTTP-Method-Override", "DELETE"),
			one("X-Forwarded-Host", "elsewhere"), one("Upgrade", "h2c", "websocket"),
			one("Connection", "close", "upgrade", "keep-alive, x"),
			one("If-Modified-Since", "Mon, 23 Nov 2026 08:19:00 GMT", "x"),
			one("Cookie", strings.Repeat("a=b; ", 2000)), one("X-Long", strings.Repeat("x", 60_000)), one("Bad Name", "x"),
			one("", "x"),
			rapid.Just([][2]string{{"Access-Control-Request-Method", "GET"}, {"Origin", "https://elsewhere.example"}}))
		for _, p := range parameters {
			if p.Value.In == openapi3.ParameterInHeader {
				v := often(d.value(p.Value), odd()).Draw(t, p.Value.Name)
				if !strings.ContainsAny(v, "\r\n") {
					headers = append(headers, [2]string{p.Value.Name, v})
				}
			}
		}
		return headers
	})
}
