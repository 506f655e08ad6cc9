package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// schemaVersion is what user_version says of a file that this package wrote.
const schemaVersion = 2

// schema: times are milliseconds since 1970 UTC, 0 for never.
const schema = `
-- The newest row of everybody who has a favorite. The version is the text of origins.origin, then "-" and the offset.
CREATE TABLE favorites (
	person  TEXT PRIMARY KEY,
	origin  INTEGER NOT NULL,
	"offset" INTEGER NOT NULL,
	flavor  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
` + removed + `
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

// removed is the table of tombstones, which version 2 introduced. Before, they were rows of favorites without a flavor.
const removed = `
-- The newest row of everybody who was removed: a tombstone, which may go after the time in expires. Nobody is in both tables.
-- In favorites, tombstones would have to be read when the team is listed. An index of the others would cost a write per row.
CREATE TABLE removed (
	person  TEXT PRIMARY KEY,
	origin  INTEGER NOT NULL,
	"offset" INTEGER NOT NULL,
	expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removed_expires ON removed (expires);
`

// upgrades hold, by the schema version of a file, the statements that bring it to the next version.
var upgrades = map[int64]string{
	// The columns flavor and expires of favorites are left nullable, because changing them would rewrite every row.
	1: removed + `
	INSERT INTO removed SELECT person, origin, "offset", expires FROM favorites WHERE expires IS NOT NULL ORDER BY person;
	DELETE FROM favorites WHERE expires IS NOT NULL;
	DROP INDEX tombstones;`,
}

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
	if version > schemaVersion {
		return fmt.Errorf("it was written by a newer flavorless (schema %d; this one knows %d): use that version, or a newer one",
			version, schemaVersion)
	}
	if version == schemaVersion {
		return nil
	}
	if upgrades[version] == "" { // of another program, or new
		if err := create(conn); err != nil {
			return err
		}
	} else {
		for ; version < schemaVersion; version++ {
			if err := sqlitex.ExecuteScript(conn, upgrades[version], nil); err != nil {
				return fmt.Errorf("upgrading it from schema %d: %w", version, err)
			}
		}
	}
	return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion), nil)
}

// create makes the tables in an empty file.
func create(conn *sqlite.Conn) error {
	tables, err := integer(conn, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	if tables > 0 {
		return errors.New("it is an SQLite file, but not one of flavorless: choose another path")
	}
	return sqlitex.ExecuteScript(conn, schema, nil)
}

func integer(conn *sqlite.Conn, query string) (n int64, err error) {
	err = sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
		n = stmt.ColumnInt64(0)
		return nil
	}})
	return n, err
}
