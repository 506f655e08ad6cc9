package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// schemaVersion is the user_version of the files that this package writes.
const schemaVersion = 3

// schema creates the tables. Times are milliseconds since 1970, or 0 for never.
const schema = `
-- The newest row of each person who has a favorite. The version is origins.origin, "-" and the offset.
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
	origin         TEXT NOT NULL UNIQUE, -- the order of the uploads
	bucket         TEXT NOT NULL DEFAULT '',
	key            TEXT NOT NULL DEFAULT '', -- empty if batches were applied before Begin
	version_id     TEXT NOT NULL DEFAULT '',
	etag           TEXT NOT NULL DEFAULT '',
	size           INTEGER NOT NULL DEFAULT 0,
	status         TEXT NOT NULL DEFAULT 'publishing',
	failure        TEXT, -- JSON
	format         TEXT NOT NULL DEFAULT '',
	rejects_at     TEXT NOT NULL DEFAULT '',
	rows           INTEGER NOT NULL DEFAULT 0,
	applied        INTEGER NOT NULL DEFAULT 0,
	unchanged      INTEGER NOT NULL DEFAULT 0,
	superseded     INTEGER NOT NULL DEFAULT 0,
	rejected       INTEGER NOT NULL DEFAULT 0,
	batches        INTEGER NOT NULL DEFAULT 0,
	batches_applied INTEGER NOT NULL DEFAULT 0,
	uploaded       INTEGER NOT NULL,
	started        INTEGER NOT NULL,
	published      INTEGER NOT NULL DEFAULT 0,
	settled        INTEGER NOT NULL DEFAULT 0,
	comparing      INTEGER NOT NULL DEFAULT 0, -- 1 if its batches may leave rows unchanged
	sorted         INTEGER NOT NULL DEFAULT 0 -- 1 if ingest decided to sort the file
) STRICT;
` + comparing + `

-- JSON of up to 70 KB per upload, apart from uploads, whose rows are rewritten by every transaction.
CREATE TABLE rejects (
	upload INTEGER PRIMARY KEY,
	list   TEXT NOT NULL
) STRICT;

-- The batches that have been applied: 12 bytes each. They make the counts exact.
CREATE TABLE batches (
	upload INTEGER NOT NULL,
	first  INTEGER NOT NULL,
	PRIMARY KEY (upload, first)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT never reuses a number, so a late Announced can't remove records that its caller has not read.
CREATE TABLE outbox (
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	changes BLOB NOT NULL
) STRICT;
`

// removed creates the table of tombstones. In version 1 they were rows of favorites without a flavor.
const removed = `
-- The newest row of each person who was removed: a tombstone, which may be deleted once it expires. Nobody is in both
-- tables. If tombstones were in favorites, listing the team would read them, and an index without them would cost a
-- write per row.
CREATE TABLE removed (
	person  TEXT PRIMARY KEY,
	origin  INTEGER NOT NULL,
	"offset" INTEGER NOT NULL,
	expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX removed_expires ON removed (expires);
`

// comparing creates the index in which Apply looks for newer comparing uploads.
const comparing = `CREATE INDEX uploads_comparing ON uploads (origin) WHERE comparing = 1;`

// upgrades are the statements that convert a file from each schema version to the next one.
var upgrades = map[int64]string{
	// The columns flavor and expires of favorites stay nullable, because changing them would rewrite every row.
	1: removed + `
	INSERT INTO removed SELECT person, origin, "offset", expires FROM favorites WHERE expires IS NOT NULL ORDER BY person;
	DELETE FROM favorites WHERE expires IS NOT NULL;
	DROP INDEX tombstones;`,
	2: `
	ALTER TABLE uploads ADD COLUMN unchanged INTEGER NOT NULL DEFAULT 0;
	ALTER TABLE uploads ADD COLUMN comparing INTEGER NOT NULL DEFAULT 0;
	ALTER TABLE uploads ADD COLUMN sorted INTEGER NOT NULL DEFAULT 0;
	` + comparing,
}

// migrate converts the file to schemaVersion. It takes the write lock first, which fails if the file is not writable.
func migrate(conn *sqlite.Conn) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	version, _, err := queryInt(conn, "PRAGMA user_version")
	if err != nil {
		return err
	}
	if version > schemaVersion {
		return fmt.Errorf("the file was written by a newer flavorless (schema %d; this one supports up to %d): "+
			"use that version or a newer one", version, schemaVersion)
	}
	if version == schemaVersion {
		return nil
	}
	if upgrades[version] == "" { // new, or of another program
		if err := create(conn); err != nil {
			return err
		}
	} else {
		for ; version < schemaVersion; version++ {
			if err := sqlitex.ExecuteScript(conn, upgrades[version], nil); err != nil {
				return fmt.Errorf("upgrading the file from schema %d: %w", version, err)
			}
		}
	}
	return sqlitex.ExecuteTransient(conn, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion), nil)
}

// create creates the tables in an empty file.
func create(conn *sqlite.Conn) error {
	tables, _, err := queryInt(conn, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	if tables > 0 {
		return errors.New("the file is an SQLite database of another program: choose another path")
	}
	return sqlitex.ExecuteScript(conn, schema, nil)
}
