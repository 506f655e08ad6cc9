package sortedcopy_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/sortedcopy"
)

const benchRows = 1_000_000

// report reports the rows per second, and the heap that is sampled by the benchmark.
func report(b *testing.B, heap uint64) {
	b.Helper()
	b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(heap)/(1<<20), "MiB-heap")
}

func heapAlloc() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkWrite(b *testing.B) {
	var size countingWriter
	var heap uint64
	for b.Loop() {
		size = 0
		_, err := sortedcopy.Write(&size, func(yield func(events.Update, error) bool) {
			person := []byte("person 0000000")
			for i := range benchRows {
				for j, v := len(person)-1, i; j >= 7; j, v = j-1, v/10 {
					person[j] = '0' + byte(v%10)
				}
				u := events.Update{Offset: int64(uint32(i * 2_654_435_761)), Person: string(person), Flavor: "cookie dough"}
				if !yield(u, nil) {
					return
				}
				if i%50_000 == 0 {
					heap = max(heap, heapAlloc())
				}
			}
		}, nil, values(nil))
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)/benchRows, "B/row")
	report(b, heap)
}

type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return io.Discard.Write(p)
}

// BenchmarkRead reports the heap without that of the file, which is in memory before.
func BenchmarkRead(b *testing.B) {
	file := write(b, numbered(benchRows), nil)
	runtime.GC()
	before, heap := heapAlloc(), uint64(0)
	for b.Loop() {
		c, err := sortedcopy.Open(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, err := range c.Rows(b.Context(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			if n++; n%50_000 == 0 {
				heap = max(heap, heapAlloc()-before)
			}
		}
		if n != benchRows {
			b.Fatalf("got %d rows, want %d", n, benchRows)
		}
	}
	report(b, heap)
}
