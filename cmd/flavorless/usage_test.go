package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBadUsage: each usage or environment error is one line that says what to do, with exit code 2.
func TestBadUsage(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	file := writeFile(t, "plain", "x")
	csv := writeFile(t, "a.csv", "person,flavor\n")
	missing := filepath.Join(t.TempDir(), "missing")
	other := func() string { return filepath.Join(t.TempDir(), "other") }
	host := func(url string) string { return url[strings.LastIndex(url, "/")+1:] }
	free := []string{"--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0"}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"API port taken", append([]string{"serve", "--data", other()}, "--api", host(p.info.API), "--s3", "127.0.0.1:0",
			"--nats", "127.0.0.1:0"), "--api"},
		{"S3 port taken", append([]string{"serve", "--data", other()}, "--api", "127.0.0.1:0", "--s3", host(p.info.S3),
			"--nats", "127.0.0.1:0"), host(p.info.S3)},
		{"NATS port taken", append([]string{"serve", "--data", other()}, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0",
			"--nats", host(p.info.NATS)), host(p.info.NATS)},
		{"folder is a file", append([]string{"serve", "--data", file}, free...), "--data"},
		{"folder not writable", append([]string{"serve", "--data", "/proc/flavorless"}, free...), "--data"},
		{"folder without a name", append([]string{"serve", "--data", ""}, free...), "flavorless: --data can't be"},
		{"folder in use", append([]string{"serve", "--data", p.dir}, free...), p.dir},
		{"half an identity provider", append([]string{"serve", "--data", other(), "--issuer", "https://id.example.com/"},
			free...), "--issuer"},
		{"insecure JWKS URI", append([]string{"serve", "--data", other(), "--issuer", "i", "--audience", "a", "--jwks-uri",
			"http://id.example.com/"}, free...), "flavorless: --jwks-uri: "},
		{"removals kept shorter than changes", append([]string{"serve", "--data", other(), "--keep-removed", "2d",
			"--keep-changes", "3d"}, free...), "flavorless: --keep-removed (48h) must be"},
		{"uploads kept too short", append([]string{"serve", "--data", other(), "--keep-uploads", "5m"}, free...),
			"flavorless: --keep-uploads must be at least 1d"},
		{"bad size", append([]string{"serve", "--data", other(), "--min-free", "much"}, free...), "512MiB"},
		{"bad time", append([]string{"serve", "--data", other(), "--keep-reports", "-3d"}, free...), "90d"},
		{"negative limit", append([]string{"serve", "--data", other(), "--max-uploads", "-3"}, free...),
			"flavorless: --max-uploads must be at least 1"},
		{"any origin", append([]string{"serve", "--data", other(), "--cors-origin", "*"}, free...),
			"https://flavors.example"},
		{"bad address", []string{"serve", "--data", other(), "--api", "nonsense"}, `flavorless: --api "nonsense" is not`},
		{"webhook over http", append([]string{"serve", "--data", other(), "--webhook", "http://example.com/"}, free...),
			"flavorless: --webhook: "},
		{"unknown command", []string{"frobnicate"}, "--help"},
		{"unknown flag", []string{"team", "--frobnicate"}, "--help"},
		{"missing argument", []string{"lookup"}, "--help"},
		{"no server", []string{"team", "--data", missing}, "flavorless serve"},
		{"no server to upload to", []string{"upload", csv, "--data", missing}, "flavorless serve"},
		{"no server for env", []string{"env", "--data", missing}, "flavorless serve"},
		{"no server for a token", []string{"token", "--data", missing}, "flavorless serve"},
		{"no such file to upload", []string{"upload", missing, "--data", p.dir}, "missing"},
		{"unknown format to upload", []string{"upload", file, "--data", p.dir}, ".csv"},
		{"no such file to check", []string{"check", missing}, "missing"},
		{"folder to check", []string{"check", t.TempDir()}, "folder"},
		{"one name for two files to check", []string{"check", csv, csv, "--as", "a.tsv"}, "--as"},
		{"standard input twice to check", []string{"check", "-", "-"}, "given twice"},
		{"one name for a file and standard input", []string{"check", csv, "-", "--as", "a.tsv"}, "--as"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // in case that the server starts
			defer cancel()
			var out, stderr bytes.Buffer
			code := run(ctx, test.args, &terminal{in: strings.NewReader(""), out: &out, err: &stderr})
			text := strings.TrimSpace(stderr.String())
			if code != exitUsage || !strings.Contains(text, test.want) {
				t.Errorf("exit code = %d, stderr = %q; want %d and %q", code, text, exitUsage, test.want)
			}
			if lines := strings.Split(text, "\n"); len(lines) != 1 || !strings.HasPrefix(text, "flavorless: ") {
				t.Errorf("stderr = %q, want one line", text)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	const bad = "person,flavor\nandy,vanilla\nbill,\n"
	tests := []struct {
		name, stdin string
		args        []string
		code        int
		want        []string
	}{
		{"good", "", []string{writeFile(t, "a.csv", "person,flavor\nandy,vanilla\n")}, exitOK,
			[]string{"1 row: 1 accepted, 0 rejected", "good"}},
		{"rejected", "", []string{writeFile(t, "b.csv", bad)}, exitRejected,
			[]string{"line 3, column 6: missing_flavor", "bill,"}},
		{"broken", "", []string{writeFile(t, "c.json", `{"a":`)}, exitFailed, []string{"malformed_json"}},
		{"unknown", "", []string{writeFile(t, "c.txt", `{"a":`)}, exitFailed, []string{"unknown_format", ".csv"}},
		{"several", "", []string{writeFile(t, "a.csv", bad), writeFile(t, "c.json", `{"a":`)}, exitFailed,
			[]string{"missing_flavor", "malformed_json"}},
		{"stdin CSV", bad, []string{"-"}, exitRejected, []string{"missing_flavor"}},
		{"stdin JSON", `{"a": 1}`, []string{"-"}, exitRejected, []string{"not_a_string"}},
		{"stdin NDJSON", "{\"person\":\"a\",\"flavor\":\"b\"}\n{\"person\":\"a\"}", []string{"-"}, exitRejected,
			[]string{"2 rows", "missing_flavor"}},
		{"stdin under a name", "person\tflavor\na\tb\n", []string{"-", "--as", "x.tsv"}, exitOK, []string{"1 accepted"}},
		{"stdin NDJSON of one line", `{"person":"a","flavor":"b"}`, []string{"-"}, exitOK, []string{"1 row: 1 accepted"}},
		{"stdin NDJSON of one line with newline", "\ufeff{\"Flavor\":\"b\",\"id\":7,\"Person\":\"a\"}\r\n", []string{"-"},
			exitOK, []string{"1 row: 1 accepted"}},
		{"stdin NDJSON of one long line", `{"note":"` + strings.Repeat("x", 10_000) + `","person":"a","flavor":"b"}`,
			[]string{"-"}, exitOK, []string{"1 row: 1 accepted"}},
		{"stdin NDJSON of one line to reject", `{"person":"a"}`, []string{"-", "--json"}, exitRejected,
			[]string{`"format":"ndjson"`, "missing_flavor"}},
		{"stdin NDJSON with commas", "{\"person\":\"a\",\"flavor\":\"b\"},\n", []string{"-"}, exitRejected,
			[]string{"malformed_row", "comma"}},
		{"stdin map", `{"andy":"b","dan":null}`, []string{"-", "--json"}, exitOK, []string{`"format":"json","rows":2`}},
		{"stdin map over lines", "{\n\"andy\":\"b\"}\n", []string{"-", "--json"}, exitOK,
			[]string{`"format":"json","rows":1`}},
		{"stdin answer of an API", `{"status":"ok","data":[{"person":"a","flavor":"b"}]}`, []string{"-"}, exitFailed,
			[]string{"format_mismatch", `"data"`}},
		{"file under another name", "", []string{writeFile(t, "a.txt", "person\tflavor\na\tb\n"), "--as", "x.tsv"}, exitOK,
			[]string{"a.txt", "1 accepted"}},
		{"file under a wrong name", "", []string{writeFile(t, "a.csv", "person,flavor\na,b\n"), "--as", "x.ndjson"},
			exitRejected, []string{"2 rejected"}},
		{"file under an unknown name", "", []string{writeFile(t, "a.csv", "person,flavor\na,b\n"), "--as", "x.ndjson "},
			exitFailed, []string{"unknown_format", `"x.ndjson "`}},
		{"empty", "", []string{writeFile(t, "a.json", "")}, exitOK, []string{"0 rows", "warning"}},
		{"white space", "", []string{writeFile(t, "a.ndjson", " \r\n")}, exitOK, []string{"0 rows", "warning"}},
		{"empty array", "", []string{writeFile(t, "a.json", "[ ]")}, exitOK, []string{"0 rows", "warning"}},
		{"empty object as JSON", "{}", []string{"-", "--json"}, exitOK, []string{`"rows":0`, `"warning":"`}},
		{"header alone", "", []string{writeFile(t, "a.csv", "person,flavor\n"), "--json"}, exitOK,
			[]string{`"rows":0`, `"warning":"`}},
		{"JSON", bad, []string{"-", "--json"}, exitRejected,
			[]string{`"code":"missing_flavor"`, `"file":"-","format":"csv","rows":2,"accepted":1,"rejected":1`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := command(t, test.stdin, append([]string{"check"}, test.args...)...)
			if got.code != test.code || got.err != "" {
				t.Errorf("exit code = %d, want %d; stderr = %q, want none", got.code, test.code, got.err)
			}
			for _, want := range test.want {
				if !strings.Contains(got.out, want) {
					t.Errorf("the output lacks %q:\n%s", want, got.out)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, name := range []string{"", "demo", "serve", "env", "upload", "check", "team", "lookup", "uploads", "watch",
		"redrive", "token", "webhook-secret"} {
		args := []string{name, "--help"}
		if name == "" {
			args = args[1:]
		}
		if got := command(t, "", args...); got.code != exitOK || !strings.Contains(got.out, "Usage:") || got.err != "" {
			t.Errorf("%s --help = %+v, want exit code %d and the usage", name, got, exitOK)
		}
	}
}
