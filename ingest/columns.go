package ingest

// columnNames are what a file calls its columns or members, as columnName gives them.
type columnNames struct{ person, flavor, action string }

func defaultColumns() columnNames { return columnNames{"person", "flavor", "action"} }

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
