package sqlite

import (
	"fmt"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// SelectTeam is the query of Team.
const SelectTeam = selectTeam

// LimitPages simulates a full disk when the file has that many pages.
func LimitPages(db *DB, pages int) error {
	w := <-db.writer
	defer func() { db.writer <- w }()
	return sqlitex.ExecuteTransient(w.conn, fmt.Sprintf("PRAGMA max_page_count = %d", pages), nil)
}

// Hold opens a transaction that writes, and returns a function that rolls it back.
func Hold(db *DB) (release func() error, err error) {
	w := <-db.writer
	for _, q := range []string{"BEGIN IMMEDIATE", "UPDATE favorites SET flavor = 'uncommitted'"} {
		if err := sqlitex.ExecuteTransient(w.conn, q, nil); err != nil {
			return nil, err
		}
	}
	return func() error {
		defer func() { db.writer <- w }()
		return sqlitex.ExecuteTransient(w.conn, "ROLLBACK", nil)
	}, nil
}

// ForgetOrigins empties the cache of origins, like a restart.
func ForgetOrigins(db *DB) {
	w := <-db.writer
	w.origins.clear()
	db.writer <- w
}

// DecodeChanges decodes a record of the outbox.
func DecodeChanges(blob []byte) ([]events.Change, error) { return decodeChanges(blob) }

// EncodeChanges encodes a record of the outbox. All changes have one origin.
func EncodeChanges(origin events.Origin, changes []events.Change) []byte {
	blob := appendOrigin(nil, origin)
	for _, c := range changes {
		blob = appendChange(blob, c.Version.Offset(), c)
	}
	return blob
}
