package sqlite

import (
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// exec runs a statement that returns no rows.
func exec(conn *sqlite.Conn, query string, args ...any) error {
	return sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args})
}

// queryInt returns the first column of a statement that returns at most one row.
func queryInt(conn *sqlite.Conn, query string, args ...any) (n int64, found bool, err error) {
	err = sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args, ResultFunc: func(stmt *sqlite.Stmt) error {
		n, found = stmt.ColumnInt64(0), true
		return nil
	}})
	return n, found, err
}

// appendRows runs a statement and appends its rows to list.
func appendRows[T any](
	list []T, conn *sqlite.Conn, scan func(*sqlite.Stmt) (T, error), query string, args ...any,
) ([]T, error) {
	err := sqlitex.Execute(conn, query, &sqlitex.ExecOptions{Args: args, ResultFunc: func(stmt *sqlite.Stmt) error {
		row, err := scan(stmt)
		list = append(list, row)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// run executes a prepared statement that returns no rows.
func run(stmt *sqlite.Stmt) error {
	if _, err := stmt.Step(); err != nil {
		return err
	}
	return stmt.Reset()
}

// columnBlob returns a copy of a column.
func columnBlob(stmt *sqlite.Stmt, column int) []byte {
	blob := make([]byte, stmt.ColumnLen(column))
	stmt.ColumnBytes(column, blob)
	return blob
}

// fromMillis and toMillis convert times as they are stored: in ms since 1970, or 0 for the zero time.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
