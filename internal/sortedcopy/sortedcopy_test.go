package sortedcopy_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/sortedcopy"
)

func seq(rows []events.Update) iter.Seq2[events.Update, error] {
	return func(yield func(events.Update, error) bool) {
		for _, u := range rows {
			if !yield(u, nil) {
				return
			}
		}
	}
}

func values(m map[string]string) func() (map[string]string, error) {
	return func() (map[string]string, error) { return m, nil }
}

// numbered returns n rows. Every tenth is a removal.
func numbered(n int) []events.Update {
	rows := make([]events.Update, n)
	for i := range rows {
		rows[i] = events.Update{Offset: int64(uint32(i * 2_654_435_761)), Person: fmt.Sprintf("person %07d", i),
			Flavor: fmt.Sprintf("flavor %d", i%30)}
		if i%10 == 9 {
			rows[i].Flavor, rows[i].Remove = "", true
		}
	}
	return rows
}

// modulo returns a function that distributes persons over n groups.
func modulo(n int) func(string) int {
	return func(person string) int {
		if person == "" {
			return 0
		}
		return (len(person) + int(person[len(person)-1])) % n
	}
}

func sortRows(rows []events.Update, group func(string) int) {
	slices.SortFunc(rows, func(a, b events.Update) int {
		return cmp.Or(cmp.Compare(group(a.Person), group(b.Person)), cmp.Compare(a.Person, b.Person))
	})
}

func write(t testing.TB, rows []events.Update, group func(string) int) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := sortedcopy.Write(&b, seq(rows), group, values(map[string]string{"upload": "u-1", "empty": ""}))
	if err != nil || n != int64(len(rows)) {
		t.Fatalf("Write() = %d, %v, want %d", n, err, len(rows))
	}
	return b.Bytes()
}

func open(t testing.TB, file []byte) *sortedcopy.Copy {
	t.Helper()
	c, err := sortedcopy.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func collect(rows iter.Seq2[events.Update, error]) (all []events.Update, err error) {
	for u, err := range rows {
		if err != nil {
			return all, err
		}
		all = append(all, u)
	}
	return all, nil
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		group := modulo(rapid.SampledFrom([]int{1, 3, 16}).Draw(t, "groups"))
		unique := map[string]events.Update{}
		for range rapid.IntRange(0, 200).Draw(t, "n") {
			u := events.Update{
				Offset: rapid.Int64().Draw(t, "offset"),
				Person: rapid.StringN(1, 30, events.MaxName).Draw(t, "person"),
				Flavor: rapid.StringN(0, 10, events.MaxName).Draw(t, "flavor"),
			}
			u.Remove = u.Flavor == ""
			unique[u.Person] = u
		}
		var rows []events.Update
		for _, u := range unique {
			rows = append(rows, u)
		}
		sortRows(rows, group)
		metadata := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "metadata")
		var b bytes.Buffer
		n, err := sortedcopy.Write(&b, seq(rows), group, values(metadata))
		if err != nil || n != int64(len(rows)) {
			t.Fatalf("Write() = %d, %v, want %d", n, err, len(rows))
		}
		c, err := sortedcopy.Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range metadata {
			if got := c.Metadata(name); got != want {
				t.Fatalf("Metadata(%q) = %q, want %q", name, got, want)
			}
		}
		if c.Len() != n {
			t.Fatalf("Len() = %d, want %d", c.Len(), n)
		}
		start := rapid.IntRange(0, len(rows)).Draw(t, "start")
		got, err := collect(c.Rows(context.Background(), int64(start)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, rows[start:]) {
			t.Fatalf("rows from %d, -want +got:\n%s", start, gocmp.Diff(rows[start:], got))
		}
		wanted := rapid.SliceOf(rapid.String()).Draw(t, "others")
		if len(rows) > 0 {
			for _, u := range rapid.SliceOf(rapid.SampledFrom(rows)).Draw(t, "wanted") {
				wanted = append(wanted, u.Person)
			}
		}
		got, err = c.Lookup(context.Background(), wanted, group)
		if err != nil {
			t.Fatal(err)
		}
		if want := lookup(rows, wanted); !slices.Equal(got, want) {
			t.Fatalf("Lookup(%q), -want +got:\n%s", wanted, gocmp.Diff(want, got))
		}
	})
}

// lookup is the reference implementation of Lookup.
func lookup(rows []events.Update, persons []string) (found []events.Update) {
	wanted := map[string]bool{}
	for _, p := range persons {
		wanted[p] = true
	}
	for _, u := range rows {
		if wanted[u.Person] {
			found = append(found, u)
		}
	}
	return found
}

// readerAt counts the calls of ReadAt.
type readerAt struct {
	io.ReaderAt
	calls int
}

func (r *readerAt) ReadAt(p []byte, at int64) (int, error) {
	r.calls++
	return r.ReaderAt.ReadAt(p, at)
}

func TestManyRowGroups(t *testing.T) {
	rows := numbered(300_000) // 19 row groups
	file := write(t, rows, nil)
	r := &readerAt{ReaderAt: bytes.NewReader(file)}
	c, err := sortedcopy.Open(r, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if r.calls != 1 {
		t.Errorf("Open called ReadAt %d times, want once", r.calls)
	}
	for _, start := range []int{0, 1, 16_383, 16_384, 200_000, 299_999, 300_000} {
		r.calls = 0
		got, err := collect(c.Rows(t.Context(), int64(start)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, rows[start:]) {
			t.Errorf("Rows(%d) yields %d rows, want the last %d", start, len(got), len(rows)-start)
		}
		if groups := 19 - start/16_384; start < len(rows) && r.calls != groups {
			t.Errorf("Rows(%d) called ReadAt %d times, want %d", start, r.calls, groups)
		}
	}
	for _, start := range []int64{-1, 300_001} {
		if _, err := collect(c.Rows(t.Context(), start)); err == nil {
			t.Errorf("Rows(%d) succeeded, want an error", start)
		}
	}
	for _, test := range []struct {
		persons []int
		calls   int
	}{
		{nil, 0},
		{[]int{16_384}, 1},
		{[]int{299_999, 3, 5, 3, 70_000, 16_383}, 3},
		{[]int{-1, 300_000}, 0},
	} {
		r.calls = 0
		var persons []string
		for _, i := range test.persons {
			persons = append(persons, fmt.Sprintf("person %07d", i))
		}
		got, err := c.Lookup(t.Context(), persons, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := lookup(rows, persons); !slices.Equal(got, want) {
			t.Errorf("Lookup(%q) = %v, want %v", persons, got, want)
		}
		if r.calls != test.calls {
			t.Errorf("Lookup(%q) called ReadAt %d times, want %d", persons, r.calls, test.calls)
		}
	}
}

func TestContext(t *testing.T) {
	c := open(t, write(t, numbered(100), nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collect(c.Rows(ctx, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("error of Rows = %v, want context.Canceled", err)
	}
	if _, err := c.Lookup(ctx, []string{"person 0000001"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error of Lookup = %v, want context.Canceled", err)
	}
}

func TestRowGroupsAreBoundedInBytes(t *testing.T) {
	rows := make([]events.Update, 40_000)
	for i := range rows {
		rows[i].Person = fmt.Sprintf("%06d%s", i, strings.Repeat("p", 250))
		rows[i].Flavor = strings.Repeat("f", 256)
	}
	file := write(t, rows, nil)
	r := &readerAt{ReaderAt: bytes.NewReader(file)}
	c, err := sortedcopy.Open(r, int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	r.calls = 0
	got, err := collect(c.Rows(t.Context(), 0))
	if err != nil || !slices.Equal(got, rows) {
		t.Errorf("got %d rows, %v, want the %d that were written", len(got), err, len(rows))
	}
	if r.calls != 11 { // 40,000 rows have 21 MB
		t.Errorf("Rows called ReadAt %d times, want 11", r.calls)
	}
}

// failing returns errBroken after n bytes.
type failing struct{ n int }

var errBroken = errors.New("broken")

func (f *failing) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	rows := numbered(100_000)
	size := len(write(t, rows, nil))
	for _, n := range []int{0, 4, 100, size / 2, size - 1} {
		_, err := sortedcopy.Write(&failing{n}, seq(rows), nil, values(map[string]string{"upload": "u-1", "empty": ""}))
		if !errors.Is(err, errBroken) {
			t.Errorf("error after %d bytes = %v, want %v", n, err, errBroken)
		}
	}
	broken := func(yield func(events.Update, error) bool) {
		_ = yield(rows[0], nil) && yield(events.Update{}, errBroken)
	}
	if n, err := sortedcopy.Write(io.Discard, broken, nil, values(nil)); !errors.Is(err, errBroken) || n != 1 {
		t.Errorf("Write() = %d, %v, want 1 and the error of the rows", n, err)
	}
	metadata := func() (map[string]string, error) { return nil, errBroken }
	if _, err := sortedcopy.Write(io.Discard, seq(rows), nil, metadata); !errors.Is(err, errBroken) {
		t.Errorf("error = %v, want the error of metadata", err)
	}
	group := func(person string) int { return int(person[0]) }
	for _, persons := range [][]string{{"a2", "a1"}, {"a1", "a1"}, {"b1", "a2"}, {"a1", "b1", "a2"}} {
		var disordered []events.Update
		for _, person := range persons {
			disordered = append(disordered, events.Update{Person: person, Flavor: "vanilla"})
		}
		if _, err := sortedcopy.Write(io.Discard, seq(disordered), group, values(nil)); err == nil {
			t.Errorf("Write of %q succeeded, want an error", persons)
		}
	}
}
