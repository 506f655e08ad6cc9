package ingest

import (
	"strings"

	"github.com/flavorless/flavorless/internal/swar"
)

// columnNames are the names of the columns of a CSV file and of the members of a JSON row, as columnName returns them.
type columnNames struct{ person, flavor, action string }

func defaultColumns() columnNames {
	return columnNames{person: "person", flavor: "flavor", action: "action"}
}

// of returns the name that a member of a row stands for, written in any letter case and with white space around it. It returns
// another text for other members.
func (c columnNames) of(member string) string {
	if n := len(member); n != len(c.person) && n != len(c.flavor) && n != len(c.action) && trimmed(member) {
		return member
	}
	if member == c.person || member == c.flavor || member == c.action {
		return member
	}
	return columnName(member)
}

// trimmed reports whether s is plain text, without white space around it, so that columnName returns as many bytes as s has.
func trimmed(s string) bool {
	return swar.Plain(s) && s != "" && s[0] != ' ' && s[len(s)-1] != ' '
}

// has reports whether of returns one of the names for a member.
func (c columnNames) has(member string) bool {
	name := c.of(member)
	return name == c.person || name == c.flavor || name == c.action
}

// repeated returns a name that stands for two columns, or "".
func (c columnNames) repeated() string {
	switch {
	case c.person == c.flavor || c.person == c.action:
		return c.person
	case c.flavor == c.action:
		return c.flavor
	}
	return ""
}

// columnsFound tells which columns a file has had so far.
type columnsFound struct{ person, flavor, action bool }

// missing returns the metadata that names a column which was not found, and that name. Columns that have their default name may
// be missing: every row says so by itself.
func (c columnNames) missing(found columnsFound) (metadata, name string) {
	usual := defaultColumns()
	switch {
	case c.person != usual.person && !found.person:
		return MetadataPersonColumn, c.person
	case c.flavor != usual.flavor && !found.flavor:
		return MetadataFlavorColumn, c.flavor
	case c.action != usual.action && !found.action:
		return MetadataActionColumn, c.action
	}
	return "", ""
}

// include is has for text that has no white space around it. It is fast for other text, which most is.
func (c *columnNames) include(text string) bool {
	n := len(text)
	return (n == len(c.person) || n == len(c.flavor) || n == len(c.action)) && c.equal(text)
}

func (c *columnNames) equal(text string) bool {
	return strings.EqualFold(text, c.person) || strings.EqualFold(text, c.flavor) || strings.EqualFold(text, c.action)
}
