package extsort_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/extsort"
)

// drawRows draws rows with few different persons, some of which begin alike, so that many are superseded.
func drawRows(t *rapid.T) []events.Update {
	person := rapid.OneOf(
		rapid.StringMatching(`[ab]{1,3}`),
		rapid.StringMatching(`person 00[0-9]{2}`),
		rapid.StringMatching(`a\x00{0,9}`),
		rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOfN(rapid.Byte(), 1, events.MaxName).Draw(t, "bytes"))
		}),
	)
	flavor := rapid.OneOf(rapid.Just(""), rapid.StringN(1, 20, events.MaxName))
	rows := make([]events.Update, rapid.IntRange(0, 400).Draw(t, "n"))
	for i := range rows {
		f := flavor.Draw(t, "flavor")
		rows[i] = events.Update{Offset: int64(i) * 1000, Person: person.Draw(t, "person"), Flavor: f, Remove: f == ""}
	}
	return rapid.Permutation(rows).Draw(t, "order")
}

// sorted is the reference implementation.
func sorted(rows []events.Update, group func(string) int) []events.Update {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b events.Update) int {
		return cmp.Or(cmp.Compare(group(a.Person), group(b.Person)), cmp.Compare(a.Person, b.Person),
			cmp.Compare(b.Offset, a.Offset))
	})
	return slices.CompactFunc(rows, func(a, b events.Update) bool { return a.Person == b.Person })
}

// modulo returns a function that distributes persons over n groups.
func modulo(n int) func(string) int {
	return func(person string) int { return (len(person) + int(person[len(person)-1])) % n }
}

func collect(ctx context.Context, s *extsort.Sorter) (rows []events.Update, err error) {
	for u, err := range s.Rows(ctx) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, u)
	}
	return rows, nil
}

func newSorter(t testing.TB, cfg extsort.Config) *extsort.Sorter {
	t.Helper()
	s, err := extsort.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// number returns a row whose person has a number.
func number(i int) events.Update {
	return events.Update{Offset: int64(i) * 20, Person: fmt.Sprintf("person %07d", i), Flavor: "vanilla"}
}

func files(t testing.TB, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if path != dir {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// With a memory of 1 byte each row becomes a run, so up to 400 runs are merged in several passes.
func TestRowsEqualReference(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		cfg := extsort.Config{Dir: dir, Memory: rapid.SampledFrom([]int{1, 2500, 5000, 40_000, 0}).Draw(t, "memory")}
		group := func(string) int { return 0 }
		if n := rapid.SampledFrom([]int{1, 3, 256}).Draw(t, "groups"); n > 1 {
			group = modulo(n)
			cfg.Group = group
		}
		s, err := extsort.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, u := range rows {
			if err := s.Add(u); err != nil {
				t.Fatal(err)
			}
		}
		got, err := collect(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		want := sorted(rows, group)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("rows, -want +got:\n%s", diff)
		}
		if got, want := s.Superseded(), int64(len(rows)-len(want)); got != want {
			t.Fatalf("Superseded() = %d, want %d", got, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Fatalf("files after Close: %v", left)
		}
	})
}

func TestNoFileIfRowsFitIntoMemory(t *testing.T) {
	dir := t.TempDir()
	s := newSorter(t, extsort.Config{Dir: dir, Memory: 64 << 10})
	for i := range 500 {
		if err := s.Add(number(i)); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := collect(t.Context(), s)
	if len(rows) != 500 || err != nil {
		t.Errorf("got %d rows and error %v, want 500", len(rows), err)
	}
	if got := files(t, dir); got != nil {
		t.Errorf("files = %q, want none", got)
	}
}

// All runs use the memory of the first, and little besides: the buffer for writing, and the names of files.
func TestMemoryLimit(t *testing.T) {
	const memory = 4 << 20
	s := newSorter(t, extsort.Config{Dir: t.TempDir(), Memory: memory})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	person, runs := []byte("person 0000000 with a name of 40 bytes.."), 20
	for i := range runs * memory / 80 {
		for j, v := 13, i; j >= 7; j, v = j-1, v/10 {
			person[j] = '0' + byte(v%10)
		}
		u := events.Update{Offset: int64(i), Person: unsafe.String(&person[0], len(person)-i%10), Flavor: "vanilla"}
		if err := s.Add(u); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(memory+runs*80<<10); got > most {
		t.Errorf("Add allocated %d bytes for %d runs, want at most %d", got, runs, most)
	}
}

func TestDiskLimit(t *testing.T) {
	t.Run("in Add", func(t *testing.T) {
		dir := t.TempDir()
		s := newSorter(t, extsort.Config{Dir: dir, Memory: 8 << 10, MaxDisk: 10_000})
		var err error
		for i := 0; err == nil && i < 10_000; i++ {
			err = s.Add(number(i))
		}
		if !errors.Is(err, extsort.ErrDiskLimit) {
			t.Fatalf("error = %v, want ErrDiskLimit", err)
		}
		var size int64
		for _, path := range files(t, dir) {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				size += info.Size()
			}
		}
		if size == 0 || size > 10_000 {
			t.Errorf("the files have %d bytes, want 1 to 10,000", size)
		}
	})
	t.Run("in Rows, while runs are merged", func(t *testing.T) {
		s := newSorter(t, extsort.Config{Dir: t.TempDir(), Memory: 1, MaxDisk: 200 * 27})
		for i := range 200 {
			if err := s.Add(number(i)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := collect(t.Context(), s); !errors.Is(err, extsort.ErrDiskLimit) {
			t.Errorf("error = %v, want ErrDiskLimit", err)
		}
	})
}

func TestRowsEndWithContext(t *testing.T) {
	for _, memory := range []int{1, 64 << 10, 0} {
		s := newSorter(t, extsort.Config{Dir: t.TempDir(), Memory: memory})
		for i := range 3000 {
			if err := s.Add(number(i)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		var err error
		for _, err = range s.Rows(ctx) {
			if n++; n == 10 {
				cancel()
			}
		}
		cancel()
		if !errors.Is(err, context.Canceled) || n > 2000 {
			t.Errorf("memory %d: error %v after %d rows, want context.Canceled within 2,000", memory, err, n)
		}
	}
}

func TestRowsMayBeLeftEarly(t *testing.T) {
	dir := t.TempDir()
	s := newSorter(t, extsort.Config{Dir: dir, Memory: 4 << 10})
	for i := range 1000 {
		if err := s.Add(number(i)); err != nil {
			t.Fatal(err)
		}
	}
	for u, err := range s.Rows(t.Context()) {
		if u.Person != number(0).Person || err != nil {
			t.Errorf("first row = %+v, %v, want %+v", u, err, number(0))
		}
		break
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got != nil {
		t.Errorf("files after Close = %q, want none", got)
	}
}

func TestMisuse(t *testing.T) {
	for _, cfg := range []extsort.Config{{Memory: -1}, {MaxDisk: -1}, {Memory: 1 << 40}} {
		if _, err := extsort.New(cfg); err == nil {
			t.Errorf("New(%+v) succeeded, want an error", cfg)
		}
	}
	s := newSorter(t, extsort.Config{Group: func(person string) int { return len(person) * 100 }})
	long := string(make([]byte, events.MaxName+1))
	for _, u := range []events.Update{
		{Flavor: "a"},
		{Person: "a"},
		{Person: long, Flavor: "a"},
		{Person: "a", Flavor: long},
		{Person: "a", Flavor: "a", Remove: true},
		{Person: "abc", Flavor: "a"}, // group 300
	} {
		if s.Add(u) == nil {
			t.Errorf("Add(%.80q) succeeded, want an error", fmt.Sprint(u))
		}
	}
	if rows, err := collect(t.Context(), s); len(rows) > 0 || err != nil {
		t.Errorf("rows = %v, %v, want none", rows, err)
	}
	if s.Add(number(1)) == nil {
		t.Error("Add after Rows succeeded, want an error")
	}
	if _, err := collect(t.Context(), s); err == nil {
		t.Error("the second call of Rows succeeded, want an error")
	}

	s = newSorter(t, extsort.Config{Dir: filepath.Join(t.TempDir(), "missing"), Memory: 1})
	if err := errors.Join(s.Add(number(1)), s.Add(number(2))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error without a folder = %v, want os.ErrNotExist", err)
	}
}

func TestMissingRun(t *testing.T) {
	dir := t.TempDir()
	s := newSorter(t, extsort.Config{Dir: dir, Memory: 4 << 10})
	for i := range 1000 {
		if err := s.Add(number(i)); err != nil {
			t.Fatal(err)
		}
	}
	paths := files(t, dir)
	if err := os.Truncate(paths[1], 5); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(t.Context(), s); err == nil {
		t.Error("reading a truncated run succeeded, want an error")
	}
}

func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSorter(t, extsort.Config{Dir: dir, Memory: 1})
	for i := range 3 {
		if err := s.Add(number(i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := files(t, dir); len(got) != 4 { // the folder, two runs, and the other file
		t.Errorf("files = %q, want 4", got)
	}
	if err := extsort.Prepare(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := files(t, dir), []string{filepath.Join(dir, "other")}; !slices.Equal(got, want) {
		t.Errorf("files after Prepare = %q, want %q", got, want)
	}
	missing := filepath.Join(dir, "missing")
	if err := extsort.Prepare(missing); err != nil {
		t.Errorf("Prepare of a missing folder: %v", err)
	}
	if info, err := os.Stat(missing); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("Prepare created %v, %v; want a folder with mode 0700", info, err)
	}
}
