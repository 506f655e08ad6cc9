package extsort_test

import (
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/extsort"
)

// BenchmarkSort adds and reads rows in random order. It reports the rows per second and the largest heap, which is
// sampled without forcing a collection.
func BenchmarkSort(b *testing.B) {
	for _, n := range []int{1_000_000, 5_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var heap uint64
			for b.Loop() {
				heap = max(heap, sortOnce(b, n))
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(heap)/(1<<20), "MiB-heap")
		})
	}
}

func sortOnce(b *testing.B, n int) (heap uint64) {
	s, err := extsort.New(extsort.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	sample := func(i int) {
		if i%100_000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap = max(heap, m.HeapAlloc)
		}
	}
	person := []byte("person 0000000") // all persons share this memory, so that the heap is that of the sorter alone
	for i := range n {
		v := shuffled(i, n)
		for j := len(person) - 1; j >= 7; j-- {
			person[j] = '0' + byte(v%10)
			v /= 10
		}
		u := events.Update{Offset: int64(i) * 28, Person: unsafe.String(&person[0], len(person)), Flavor: "cookie dough"}
		if err := s.Add(u); err != nil {
			b.Fatal(err)
		}
		sample(i)
	}
	rows := 0
	for _, err := range s.Rows(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		sample(rows)
		rows++
	}
	if rows != n || s.Superseded() != 0 {
		b.Fatalf("got %d rows and %d superseded, want %d and 0", rows, s.Superseded(), n)
	}
	return heap
}

// shuffled returns the i-th number of a fixed permutation of the numbers below n, which must be at most 1 << 23. It
// permutes the numbers of 23 bits, and applies the permutation again until the result is below n.
func shuffled(i, n int) int {
	const mask = 1<<23 - 1
	for {
		i = (i*0x9e3779b1 + 12345) & mask
		i ^= i >> 12
		i = i * 0x85ebca6b & mask
		i ^= i >> 12
		if i < n {
			return i
		}
	}
}
