package main

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const hello = "./testdata/hello"

// TestReproducible builds twice, in different folders at different times, and checks that the bytes are the same.
func TestReproducible(t *testing.T) {
	var zips [2][]byte
	for i := range zips {
		dir := t.TempDir()
		c := config{out: dir, arch: "arm64", limits: limits{"": 15 << 20}}
		if err := run(c, []string{hello}, io.Discard); err != nil {
			t.Fatal(err)
		}
		var err error
		if zips[i], err = os.ReadFile(filepath.Join(dir, "hello.zip")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(zips[0], zips[1]) {
		t.Error("two builds of the same sources differ")
	}

	r, err := zip.NewReader(bytes.NewReader(zips[0]), int64(len(zips[0])))
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Name     string
		Mode     os.FileMode
		Modified time.Time
	}
	var got []entry
	for _, f := range r.File {
		got = append(got, entry{f.Name, f.Mode(), f.Modified.UTC()})
	}
	want := []entry{{"bootstrap", 0o755, time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("entries of the zip file (-want +got):\n%s", diff)
	}
	content, err := r.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	program, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	if program.Machine != elf.EM_AARCH64 || program.Section(".interp") != nil {
		t.Errorf("machine %v, interpreter %v; want a static program for arm64", program.Machine, program.Section(".interp"))
	}
}

// TestAuthorizer packs the authorizer as `make package` does. Every reader waits for its cold start.
func TestAuthorizer(t *testing.T) {
	if os.Getenv("FLAVORLESS_TEST_TOOLS") == "" {
		t.Skip("compiles a whole function for arm64; make test runs it")
	}
	var zips [2][]byte
	for i := range zips {
		dir := t.TempDir()
		c := config{out: dir, limits: limits{"": 8 << 20}}
		if err := run(c, []string{"../../cmd/lambda/authorizer"}, t.Output()); err != nil {
			t.Fatal(err)
		}
		var err error
		if zips[i], err = os.ReadFile(filepath.Join(dir, "authorizer.zip")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(zips[0], zips[1]) {
		t.Error("two builds of the authorizer differ")
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name     string
		limits   limits
		patterns []string
		want     string
	}{
		{"nothing to pack", limits{"": 15 << 20}, nil, "no packages given"},
		{"no program", limits{"": 15 << 20}, []string{"github.com/flavorless/flavorless/events"}, "go build"},
		{"too large", limits{"": 1 << 10}, []string{hello}, "more than the limit of 0.00 MB"},
		{"too large for that one", limits{"": 15 << 20, "hello": 1 << 10}, []string{hello}, "hello has"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := run(config{out: t.TempDir(), arch: "arm64", limits: test.limits}, test.patterns, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("run = %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	l := limits{"": 15 << 20}
	for _, s := range []string{"10", "authorizer=0.5"} {
		if err := l.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(limits{"": 10 << 20, "authorizer": 1 << 19}, l); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	for _, s := range []string{"", "x=", "much", "-1"} {
		if err := l.Set(s); err == nil {
			t.Errorf("Set(%q) = nil, want an error", s)
		}
	}
}
