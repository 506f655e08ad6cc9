package sortedcopy_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/flavorless/flavorless/events"

	"github.com/flavorless/flavorless/internal/sortedcopy"
)

// Each byte of a small file is damaged in turn. The bytes of pages have a checksum. Other bytes, such as those of the
// metadata, may have changed a value, but nothing else.
func TestDamagedFiles(t *testing.T) {
	rows := numbered(300)
	sortRows(rows, modulo(2))
	file := write(t, rows, modulo(2))
	for i := range file {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			damaged := bytes.Clone(file)
			damaged[i] ^= flip
			c, err := sortedcopy.Open(bytes.NewReader(damaged), int64(len(damaged)))
			if err != nil {
				continue
			}
			got, err := collect(c.Rows(t.Context(), 0))
			if err == nil && !slices.Equal(got, rows) {
				t.Fatalf("byte %d damaged by %#x: the rows are wrong and there is no error", i, flip)
			}
		}
	}
	for n := range file {
		if _, err := sortedcopy.Open(bytes.NewReader(file[:n]), int64(n)); err == nil {
			t.Fatalf("Open of the first %d bytes succeeded, want an error", n)
		}
	}
	if _, err := sortedcopy.Open(bytes.NewReader(file[:50]), int64(len(file))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error of a file that became shorter = %v, want io.ErrUnexpectedEOF", err)
	}
}

// FuzzOpen checks that no file causes a panic, and that all rows of a file that is read without an error are counted.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{})
	f.Add(write(f, nil, nil))
	f.Add(write(f, numbered(3), nil))
	f.Add(write(f, numbered(20), modulo(1)))
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := sortedcopy.Open(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		var persons []string
		rows, err := collect(c.Rows(t.Context(), 0))
		if err == nil && int64(len(rows)) != c.Len() {
			t.Fatalf("got %d rows, want %d", len(rows), c.Len())
		}
		for _, u := range rows {
			persons = append(persons, u.Person)
		}
		_, _ = c.Lookup(t.Context(), persons, nil)
	})
}

// FuzzColumns damages what the checksum of a page protects in FuzzOpen.
func FuzzColumns(f *testing.F) {
	eight := string(make([]byte, 8))
	f.Add("\x01\x00\x00\x00a", "\x02\x00\x00\x00\x02\x01\x01\x00\x00\x00b", eight, uint16(1))
	f.Add("\x01\x00\x00\x00a\x01\x00\x00\x00b", "\x02\x00\x00\x00\x04\x00", eight+eight, uint16(2))
	f.Fuzz(func(t *testing.T, persons, flavors, offsets string, n uint16) {
		rows, err := collect(sortedcopy.ReadColumns(int64(n), [3]string{persons, flavors, offsets}))
		if err == nil && len(rows) != int(n) || len(rows) > int(n) {
			t.Fatalf("got %d rows, want %d", len(rows), n)
		}
		for _, u := range rows {
			if u.Person == "" || len(u.Person) > events.MaxName || len(u.Flavor) > events.MaxName ||
				u.Remove != (u.Flavor == "") {
				t.Fatalf("got the invalid row %+v", u)
			}
		}
	})
}
