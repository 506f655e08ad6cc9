package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestReadingFlags: check and upload read a file in the same way with the same flags.
func TestReadingFlags(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	latin1 := writeFile(t, "latin1.csv", "Pr\xe9nom;Lieblingseis\nZo\xeb;Cr\xe8me\n")
	ndjson := writeFile(t, "rows.ndjson", `{"who":"bob","flavor":"nut"}`+"\n"+`{"who":"liz","do":"remove"}`+"\n")
	bad := writeFile(t, "bad.csv", "person,flavor\nandy,mint\n,nobody\n")
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // part of the output
	}{
		{"declared", []string{latin1, "--charset", "Windows-1252", "--person-column", "prénom", "--flavor-column",
			"lieblingseis"}, exitOK, "1 row"},
		{"not declared", []string{latin1, "--person-column", "prénom", "--flavor-column", "lieblingseis"}, exitFailed,
			"bad_header"},
		{"members", []string{ndjson, "--person-column", "WHO", "--action-column", "do"}, exitOK, "2 rows"},
		{"no such member", []string{ndjson, "--person-column", "name"}, exitFailed,
			`the metadata person-column names the member "name"`},
		{"unknown charset", []string{bad, "--charset", "ebcdic"}, exitUsage,
			`flavorless: --charset: the charset "ebcdic"`},
		{"one name twice", []string{bad, "--person-column", "flavor"}, exitUsage,
			`flavorless: --person-column: two of person, flavor and action are read from the column "flavor"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, args := range [][]string{append([]string{"check"}, tt.args...),
				append([]string{"upload", "--data", p.dir}, tt.args...)} {
				got := command(t, "", args...)
				if got.code != tt.code || !strings.Contains(got.out+got.err, tt.want) {
					t.Errorf("%q: exit code %d, %s%s; want %d and %q", args, got.code, got.out, got.err, tt.code, tt.want)
				}
			}
		})
	}
	got := command(t, "", "upload", "--data", p.dir, "--on-error-abort", bad)
	if got.code != exitFailed || !strings.Contains(got.out, "aborted") {
		t.Errorf("upload --on-error-abort: exit code %d, %s%s", got.code, got.out, got.err)
	}
	if got := command(t, "", "lookup", "--data", p.dir, "Zoë"); got.code != exitOK || !strings.Contains(got.out, "Crème") {
		t.Errorf("lookup: exit code %d, %s%s", got.code, got.out, got.err)
	}
}
