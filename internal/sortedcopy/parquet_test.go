package sortedcopy_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/flavorless/flavorless/events"
)

// row is a row as another implementation of Parquet reads it.
type row struct {
	Person string  `parquet:"person"`
	Flavor *string `parquet:"flavor,optional"`
	Offset int64   `parquet:"offset"`
}

// TestOtherImplementation reads the file with parquet-go, which implements all of Parquet. It must get the same rows
// and find the statistics and the order.
func TestOtherImplementation(t *testing.T) {
	for _, n := range []int{0, 1, 20, 200_000} {
		rows := numbered(n)
		group := modulo(3)
		sortRows(rows, group)
		data := write(t, rows, group)
		file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := file.Lookup("upload"); got != "u-1" {
			t.Errorf("%d rows: metadata = %q, want %q", n, got, "u-1")
		}
		if got := file.NumRows(); got != int64(n) {
			t.Errorf("%d rows: NumRows() = %d", n, got)
		}
		if got := readParquet(t, file); !slices.Equal(got, rows) {
			t.Errorf("%d rows: parquet-go reads other rows than were written", n)
		}
		checkRowGroups(t, file, rows, group)
	}
}

func readParquet(t *testing.T, file *parquet.File) (all []events.Update) {
	t.Helper()
	reader := parquet.NewGenericReader[row](file)
	defer reader.Close()
	buffer := make([]row, 1000)
	for {
		n, err := reader.Read(buffer)
		for _, r := range buffer[:n] {
			u := events.Update{Offset: r.Offset, Person: r.Person, Remove: r.Flavor == nil}
			if r.Flavor != nil {
				u.Flavor = *r.Flavor
			}
			all = append(all, u)
		}
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// checkRowGroups checks what the footer says about each row group.
func checkRowGroups(t *testing.T, file *parquet.File, rows []events.Update, group func(string) int) {
	t.Helper()
	for i, g := range file.Metadata().RowGroups {
		part := rows[:g.NumRows]
		rows = rows[g.NumRows:]
		first, last := part[0], part[len(part)-1]
		if group(first.Person) != group(last.Person) {
			t.Errorf("row group %d has rows of groups %d and %d", i, group(first.Person), group(last.Person))
		}
		person := g.Columns[0].MetaData.Statistics
		if string(person.MinValue) != first.Person || string(person.MaxValue) != last.Person {
			t.Errorf("row group %d: persons from %q to %q, want %q to %q", i, person.MinValue, person.MaxValue,
				first.Person, last.Person)
		}
		nulls := int64(0)
		for _, u := range part {
			if u.Remove {
				nulls++
			}
		}
		if got := g.Columns[1].MetaData.Statistics.NullCount; got != nulls {
			t.Errorf("row group %d: %d nulls, want %d", i, got, nulls)
		}
		sorting := g.SortingColumns
		if len(sorting) != 1 || sorting[0].ColumnIdx != 0 || sorting[0].Descending {
			t.Errorf("row group %d: sorting columns %+v, want person, ascending", i, sorting)
		}
	}
	if len(rows) > 0 {
		t.Errorf("the row groups lack %d rows", len(rows))
	}
}
