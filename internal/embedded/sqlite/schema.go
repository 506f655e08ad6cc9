package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// schemaVersion is what user_version says of a file that this package wrote.
const schemaVersion = 1

// schema: times are milliseconds since 1970 UTC, 0 for never.
const schema = `
-- Everybody's newest row. A removal is a tombstone: no flavor, and a time after which it may go.
-- The version is the text of origins.origin, then "-" and the offset.
CREATE TABLE favorites (
	person  TEXT PRIMARY KEY,
	origin  INTEGER NOT NULL,
	"offset" INTEGER NOT NULL,
	flavor  TEXT,
	expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones ON favorites (expires) WHERE expires IS NOT NULL;

CREATE TABLE origins (
	id     INTEGER PRIMARY KEY,
	origin TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE uploads (
	id             INTEGER PRIMARY KEY,
	upload         TEXT NOT NULL UNIQUE,
	origin         TEXT NOT NULL UNIQUE, -- the order of uploads among each other
	bucket         TEXT NOT NULL DEFAULT '',
	key            TEXT NOT NULL DEFAULT '', -- empty: batches came, Begin did not yet
	version_id     TEXT NOT NULL DEFAULT '',
	etag           TEXT NOT NULL DEFAULT '',
	size           INTEGER NOT NULL DEFAULT 0,
	status         TEXT NOT NULL DEFAULT 'publishing',
	failure        TEXT, -- JSON
	format         TEXT NOT NULL DEFAULT '',
	rejects_at     TEXT NOT NULL DEFAULT '',
	rows           INTEGER NOT NULL DEFAULT 0,
	applied        INTEGER NOT NULL DEFAULT 0,
	superseded     INTEGER NOT NULL DEFAULT 0,
	rejected       INTEGER NOT NULL DEFAULT 0,
	batches        INTEGER NOT NULL DEFAULT 0,
	batches_applied INTEGER NOT NULL DEFAULT 0,
	uploaded       INTEGER NOT NULL,
	started        INTEGER NOT NULL,
	published      INTEGER NOT NULL DEFAULT 0,
	settled        INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Up to 70 KB an upload, as JSON: apart from the record, which is rewritten with every transaction.
CREATE TABLE rejects (
	upload INTEGER PRIMARY KEY,
	list   TEXT NOT NULL
) STRICT;

-- The batches that have been applied. A dozen bytes each, kept for good: they are what makes counts exact.
CREATE TABLE batches (
	upload INTEGER NOT NULL,
	first  INTEGER NOT NULL,
	PRIMARY KEY (upload, first)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT, so that a number never comes again: a late Announced can't remove what it did not see.
CREATE TABLE outbox (
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	changes BLOB NOT NULL
) STRICT;
`

// migrate brings the file to schemaVersion. Taking the write lock first shows whether the file can be written at all.
func migrate(conn *sqlite.Conn) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	version, err := integer(conn, "PRAGMA user_version")
	if err != nil {
		return err
	}
	switch {
	case version == schemaVersion:
		return nil
	case version > schemaVersion:
		return fmt.Errorf("it was written by a newer flavorless (schema %d; this one knows %d): use that version, or a newer one",
			version, schemaVersion)
	}
	tables, err := integer(conn, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	if tables > 0 {
		return errors.New("it is an SQLite file, but not one of flavorless: choose another path")
	}
	if err := sqlitex.ExecuteScript(conn, schema, nil); err != nil {
		return err
	}
	return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion), nil)
}

func integer(conn *sqlite.Conn, query string) (n int64, err error) {
	err = sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
		n = stmt.ColumnInt64(0)
		return nil
	}})
	return n, err
}
