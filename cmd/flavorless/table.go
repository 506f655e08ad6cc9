package main

import (
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/text/width"
)

// column is a column of a table.
type column struct {
	name        string
	minWidth    int  // in a table that is too wide, cells are truncated to no less than this; 0: never truncated
	shrinkFirst bool // whether its cells are truncated before those of other columns
	wrap        bool // whether its cells are broken into lines instead of truncated; only for the last column
	dropOrder   int  // if the table is still too wide, columns are dropped in this order, from 1; 0: never dropped
}

const gap = 2 // spaces between columns

// wideFlag adds the flag --wide to a command that prints tables.
func wideFlag(c *cobra.Command, t *terminal) {
	c.Flags().BoolVar(&t.wide, "wide", false, "do not truncate tables and keys to the width of the terminal")
}

// lineWidth returns the number of columns of a line. It is 0, for no limit, if the output is not a terminal or if
// --wide is given.
func (t *terminal) lineWidth() int {
	if t.wide {
		return 0
	}
	return t.width
}

// table prints rows in columns. On a terminal, long cells are truncated, and columns dropped, so that lines fit its
// width.
func (t *terminal) table(indent string, columns []column, rows [][]string) {
	columns, rows, widths := layout(columns, rows, t.lineWidth()-len(indent), t.lineWidth() > 0)
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	for _, row := range append([][]string{header}, rows...) {
		t.printRow(indent, columns, row, widths)
	}
}

// printRow prints one row, on as many lines as its last cell needs.
func (t *terminal) printRow(indent string, columns []column, row []string, widths []int) {
	var line strings.Builder
	line.WriteString(indent)
	last := len(columns) - 1
	offset := len(indent)
	for i, cell := range row[:last] {
		cell = truncate(cell, widths[i])
		line.WriteString(cell + strings.Repeat(" ", widths[i]-displayWidth(cell)+gap))
		offset += widths[i] + gap
	}
	lines := []string{truncate(row[last], widths[last])}
	if columns[last].wrap {
		lines = wrapText(row[last], widths[last])
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

// layout returns the columns and rows to print, and the widths of the columns. If limited is set, it reduces the widths
// and the gaps to a sum of at most limit, as far as the columns allow.
func layout(columns []column, rows [][]string, limit int, limited bool) ([]column, [][]string, []int) {
	for {
		widths, sum, canShrink := make([]int, len(columns)), gap*(len(columns)-1), false
		for i, c := range columns {
			widths[i] = displayWidth(c.name)
			for _, row := range rows {
				widths[i] = max(widths[i], displayWidth(row[i]))
			}
			sum += widths[i]
			canShrink = canShrink || c.minWidth > 0
		}
		if !limited || sum <= limit || !canShrink {
			return columns, rows, widths
		}
		for ; sum > limit; sum-- {
			widest := -1 // among the columns to shrink next
			for i, c := range columns {
				switch {
				case c.minWidth == 0 || widths[i] <= c.minWidth:
				case widest < 0, c.shrinkFirst && !columns[widest].shrinkFirst,
					c.shrinkFirst == columns[widest].shrinkFirst && widths[i] > widths[widest]:
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
			if c.dropOrder > 0 && (dropped < 0 || c.dropOrder < columns[dropped].dropOrder) {
				dropped = i
			}
		}
		if sum <= limit || dropped < 0 {
			return columns, rows, widths
		}
		columns = slices.Delete(slices.Clone(columns), dropped, dropped+1)
		kept := make([][]string, len(rows))
		for i, row := range rows {
			kept[i] = slices.Delete(slices.Clone(row), dropped, dropped+1)
		}
		rows = kept
	}
}

// truncate returns text if it is at most n columns wide, or else its beginning and "…". There is no limit if n is 0.
func truncate(text string, n int) string {
	if n <= 0 || displayWidth(text) <= n {
		return text
	}
	used := 1
	for i, r := range text {
		if used += runeWidth(r); used > n {
			return text[:i] + "…"
		}
	}
	return text
}

// wrapText returns text in lines of at most n columns, broken at spaces if possible.
func wrapText(text string, n int) (lines []string) {
	n = max(n, 1)
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && displayWidth(line)+1+displayWidth(word) <= n {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for line = word; displayWidth(line) > n; {
			end, used := 0, 0
			for i, r := range line {
				if used += runeWidth(r); used > n && i > 0 {
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

// displayWidth returns the number of terminal columns that text occupies.
func displayWidth(text string) (n int) {
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

// runeWidth returns 2 for wide characters, such as Chinese ones, 0 for combining and format characters, and 1 for
// others.
// https://www.unicode.org/reports/tr11/
func runeWidth(r rune) int {
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

// heading returns text, truncated so that extra more columns fit on the same line.
func (t *terminal) heading(text string, extra int) string {
	if t.lineWidth() == 0 {
		return text
	}
	return truncate(text, max(t.lineWidth()-extra, 20))
}

// printPair prints a name and its value on one line.
func (t *terminal) printPair(first, second string) {
	if limit := t.lineWidth(); limit > 0 {
		first = truncate(first, max(limit/2, 20))
		second = truncate(second, max(limit-gap-max(displayWidth(first), 20), 10))
	}
	t.printf("%s  %s\n", t.style(bold, first+strings.Repeat(" ", max(20-displayWidth(first), 0))), second)
}
