package sortedcopy

import (
	"iter"

	"github.com/flavorless/flavorless/events"
)

// ReadColumns returns the rows of a row group with these decompressed columns.
func ReadColumns(rows int64, columns [3]string) iter.Seq2[events.Update, error] {
	return func(yield func(events.Update, error) bool) {
		g := rowGroup{rows: rows}
		if err := g.each(columns, yield); err != nil {
			yield(events.Update{}, err)
		}
	}
}
