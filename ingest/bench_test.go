package ingest_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// BenchmarkRead reads files of 100,000 rows. MB/s are of the file.
func BenchmarkRead(b *testing.B) {
	for _, f := range []struct{ name, file, begin, row, end string }{
		{"CSV", "a.csv", "person,flavor\n", "person %07d,cookie dough\n", ""},
		{"CSV quoted", "a.csv", "person,flavor\n", "\"person %07d\",\"cookie, dough\"\n", ""},
		{"CSV accents", "a.csv", "person,flavor\n", "person %07d,crème brûlée\n", ""},
		{"NDJSON", "a.ndjson", "", "{\"person\":\"person %07d\",\"flavor\":\"cookie dough\"}\n", ""},
		{"JSON map", "a.json", `{"a":"vanilla"`, ",\n\"person %07d\":\"cookie dough\"", "}"},
	} {
		b.Run(f.name, func(b *testing.B) {
			const rows = 100_000
			file := []byte(f.begin)
			for i := range rows {
				file = fmt.Appendf(file, f.row, i)
			}
			file = append(file, f.end...)
			accept := func(events.Update) error { return nil }
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				got, err := ingest.Read(bytes.NewReader(file), f.file, ingest.Options{}, accept,
					func(*events.Reject) error { return nil })
				if err != nil || got.Failure != nil || got.Rows < rows {
					b.Fatalf("Read(%s) = %+v, %v", f.file, got, err)
				}
			}
		})
	}
}
