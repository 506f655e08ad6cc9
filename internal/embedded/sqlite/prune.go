package sqlite

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// pruneAtOnce bounds how long Prune keeps others from writing.
const pruneAtOnce = 10_000

// Prune forgets removed people whose retention is over, 10,000 of them at most, and tells how many: call it again while
// it does.
func (db *DB) Prune(ctx context.Context) (int, error) {
	n := 0
	err := db.write(ctx, "pruning tombstones", func(w *writer) error {
		err := sqlitex.Execute(w.conn,
			`DELETE FROM favorites WHERE person IN
			(SELECT person FROM favorites WHERE expires <= ? ORDER BY expires LIMIT ?)`,
			&sqlitex.ExecOptions{Args: []any{db.now(), pruneAtOnce}})
		n = w.conn.Changes()
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Settled lists up to limit uploads, the oldest first, that were settled before that time and are not among the newest:
// those may be forgotten. The records come without Rejects.
func (db *DB) Settled(ctx context.Context, before time.Time, newest, limit int) ([]events.Upload, error) {
	var list []events.Upload
	err := db.read(ctx, "listing old uploads", func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, selectUpload+` WHERE settled > 0 AND settled < ?
			AND origin <= (SELECT origin FROM uploads ORDER BY origin DESC LIMIT 1 OFFSET ?) ORDER BY origin LIMIT ?`,
			&sqlitex.ExecOptions{Args: []any{toMillis(before), newest, limit}, ResultFunc: func(stmt *sqlite.Stmt) error {
				u, err := scanUpload(stmt)
				list = append(list, u)
				return err
			}})
	})
	return list, err
}

// Forget removes a settled upload's record, its rejects, and what is known of its batches; what it brought stays in the
// table. An event or a batch of it that came afterwards would be taken for one of a new upload: the caller sees to it that
// there are none. An upload that is not settled, or unknown, is left alone.
func (db *DB) Forget(ctx context.Context, id string) error {
	return db.write(ctx, "forgetting upload "+id, func(w *writer) error {
		_, err := w.forget(`upload = ? AND settled > 0`, id)
		return err
	})
}

// ForgetUnsettled does so with all uploads that are not settled, and tells how many those are: for when the queues are
// lost, and their events have to come anew. What they have brought already is what they will bring again.
func (db *DB) ForgetUnsettled(ctx context.Context) (n int, err error) {
	err = db.write(ctx, "forgetting unsettled uploads", func(w *writer) error {
		n, err = w.forget(`settled = 0`)
		return err
	})
	return n, err
}

// forget removes the uploads that a condition picks, and tells how many.
func (w *writer) forget(which string, args ...any) (n int, err error) {
	for _, table := range []string{"batches", "rejects"} {
		if err := sqlitex.Execute(w.conn, `DELETE FROM `+table+` WHERE upload IN (SELECT id FROM uploads WHERE `+which+`)`,
			&sqlitex.ExecOptions{Args: args}); err != nil {
			return 0, fmt.Errorf("%s: %w", table, err)
		}
	}
	err = sqlitex.Execute(w.conn, `DELETE FROM uploads WHERE `+which, &sqlitex.ExecOptions{Args: args})
	return w.conn.Changes(), err
}
