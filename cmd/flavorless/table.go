package main

import (
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/text/width"
)

// column is a column of a table.
type column struct {
	name string
	min  int  // characters to which its cells may be cut where the table is too wide for the terminal; 0: they are never cut
	soon bool // its cells are cut before those of other columns
	wrap bool // its cells are broken into lines instead; only the last column's can be
	drop int  // the order in which columns are left out where the table is still too wide, from 1; 0: never
}

const gap = 2 // spaces between columns

// wideFlag adds the flag --wide to a command that prints tables.
func wideFlag(c *cobra.Command, t *terminal) {
	c.Flags().BoolVar(&t.wide, "wide", false, "print the full text of tables and keys, wider than the terminal if need be")
}

// limit returns how many characters fit on a line, and 0 if there is no limit: the output is no terminal, or --wide is given.
func (t *terminal) limit() int {
	if t.wide {
		return 0
	}
	return t.width
}

// table prints rows in columns. On a terminal it fits its width, as far as the columns allow: long cells are cut, and end in "…".
func (t *terminal) table(indent string, columns []column, rows [][]string) {
	columns, rows, widths := fit(columns, rows, t.limit()-len(indent), t.limit() > 0)
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	for _, row := range append([][]string{header}, rows...) {
		t.row(indent, columns, row, widths)
	}
}

// row prints one row, on as many lines as its last cell takes.
func (t *terminal) row(indent string, columns []column, row []string, widths []int) {
	var line strings.Builder
	line.WriteString(indent)
	last := len(columns) - 1
	offset := len(indent)
	for i, cell := range row[:last] {
		cell = cut(cell, widths[i])
		line.WriteString(cell + strings.Repeat(" ", widths[i]-cells(cell)+gap))
		offset += widths[i] + gap
	}
	lines := []string{cut(row[last], widths[last])}
	if columns[last].wrap {
		lines = broken(row[last], widths[last])
	}
	for i, text := range lines {
		if i > 0 {
			line.WriteString(strings.Repeat(" ", offset))
		}
		line.WriteString(text)
		t.printf("%s\n", strings.TrimRight(line.String(), " "))
		line.Reset()
	}
}

// fit returns the columns and rows to print, and the widths of the columns. If there is a limit, the widths and the gaps add
// up to at most limit, if the columns allow that.
func fit(columns []column, rows [][]string, limit int, limited bool) ([]column, [][]string, []int) {
	for {
		widths, sum, canShrink := make([]int, len(columns)), gap*(len(columns)-1), false
		for i, c := range columns {
			widths[i] = cells(c.name)
			for _, row := range rows {
				widths[i] = max(widths[i], cells(row[i]))
			}
			sum += widths[i]
			canShrink = canShrink || c.min > 0
		}
		if !limited || sum <= limit || !canShrink {
			return columns, rows, widths
		}
		for ; sum > limit; sum-- {
			widest := -1 // of the columns that can be cut next
			for i, c := range columns {
				switch {
				case c.min == 0 || widths[i] <= c.min:
				case widest < 0, c.soon && !columns[widest].soon, c.soon == columns[widest].soon && widths[i] > widths[widest]:
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			widths[widest]--
		}
		dropped := -1
		for i, c := range columns {
			if c.drop > 0 && (dropped < 0 || c.drop < columns[dropped].drop) {
				dropped = i
			}
		}
		if sum <= limit || dropped < 0 {
			return columns, rows, widths
		}
		columns = without(columns, dropped)
		kept := make([][]string, len(rows))
		for i, row := range rows {
			kept[i] = without(row, dropped)
		}
		rows = kept
	}
}

// without returns a copy of all without the element i.
func without[T any](all []T, i int) []T {
	return append(append([]T{}, all[:i]...), all[i+1:]...)
}

// cut returns text if it takes at most n characters of a terminal, or else its beginning and "…". No limit is n = 0.
func cut(text string, n int) string {
	if n <= 0 || cells(text) <= n {
		return text
	}
	used := 1
	for i, r := range text {
		if used += runeCells(r); used > n {
			return text[:i] + "…"
		}
	}
	return text
}

// broken returns text in lines of at most n characters, broken at spaces where there are some.
func broken(text string, n int) (lines []string) {
	n = max(n, 1)
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && cells(line)+1+cells(word) <= n {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for line = word; cells(line) > n; {
			end, used := 0, 0
			for i, r := range line {
				if used += runeCells(r); used > n && i > 0 {
					break
				}
				end = i + len(string(r))
			}
			if end >= len(line) {
				break
			}
			lines, line = append(lines, line[:end]), line[end:]
		}
	}
	return append(lines, line)
}

// cells returns how many characters of a terminal text takes.
func cells(text string) (n int) {
	for _, r := range text {
		n += runeCells(r)
	}
	return n
}

// runeCells returns 2 for wide characters such as those of Chinese, 0 for those that combine with the one before, and else 1.
// https://www.unicode.org/reports/tr11/
func runeCells(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	if kind := width.LookupRune(r).Kind(); kind == width.EastAsianWide || kind == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// heading returns text of a line, cut so that extra more characters fit behind it.
func (t *terminal) heading(text string, extra int) string {
	if t.limit() == 0 {
		return text
	}
	return cut(text, max(t.limit()-extra, 20))
}

// pair prints two texts on one line: a name, and what belongs to it.
func (t *terminal) pair(first, second string) {
	if limit := t.limit(); limit > 0 {
		first = cut(first, max(limit/2, 20))
		second = cut(second, max(limit-gap-max(cells(first), 20), 10))
	}
	t.printf("%s  %s\n", t.style(bold, first+strings.Repeat(" ", max(20-cells(first), 0))), second)
}
