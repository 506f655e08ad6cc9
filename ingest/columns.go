package ingest

import (
	"slices"
	"strings"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/swar"
)

// column is a column of a CSV file or a member of a JSON row. It is the index in columnNames and in other arrays of
// three elements.
type column int

const (
	person column = iota
	flavor
	action
)

// columnNames are the names of the columns in a file, as columnName returns them.
type columnNames [3]string

func defaultColumns() columnNames { return columnNames{"person", "flavor", "action"} }

// columnMetadata returns the names of the metadata that name the columns.
func columnMetadata() [3]string {
	return [3]string{MetadataPersonColumn, MetadataFlavorColumn, MetadataActionColumn}
}

// columnName normalizes the name of a column, so that letter case and surrounding white space do not matter.
func columnName(s string) string { return strings.ToLower(strings.TrimFunc(s, events.IsSpace)) }

// lookup returns the column with the given name, which need not be normalized.
func (c *columnNames) lookup(name string) (column, bool) {
	if i := slices.Index(c[:], name); i >= 0 {
		return column(i), true
	}
	if n := len(name); n != len(c[person]) && n != len(c[flavor]) && n != len(c[action]) && isTrimmed(name) {
		return 0, false // the common case: columnName would not change the length
	}
	i := slices.Index(c[:], columnName(name))
	return column(max(i, 0)), i >= 0
}

// isTrimmed reports whether s is plain text without surrounding white space.
func isTrimmed(s string) bool { return swar.Plain(s) && s != "" && s[0] != ' ' && s[len(s)-1] != ' ' }

// matches reports whether text without surrounding white space is the name of a column. It compares the lengths first,
// because it is called for every row.
func (c *columnNames) matches(text string) bool {
	n := len(text)
	return (n == len(c[person]) || n == len(c[flavor]) || n == len(c[action])) && c.equalFold(text)
}

func (c *columnNames) equalFold(text string) bool {
	return slices.ContainsFunc(c[:], func(name string) bool { return strings.EqualFold(text, name) })
}

// repeated returns a name that two columns have, or "".
func (c *columnNames) repeated() string {
	for i, name := range c {
		if slices.Contains(c[i+1:], name) {
			return name
		}
	}
	return ""
}

// missing returns the metadata that names a column which was not found, and that name. Columns with default names may
// be missing: each row without them is rejected, or sets no action.
func (c *columnNames) missing(found [3]bool) (metadata, name string) {
	for i, usual := range defaultColumns() {
		if c[i] != usual && !found[i] {
			return columnMetadata()[i], c[i]
		}
	}
	return "", ""
}
