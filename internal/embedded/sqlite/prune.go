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
			`DELETE FROM removed WHERE person IN
			(SELECT person FROM removed WHERE expires <= ? ORDER BY expires LIMIT ?)`,
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
		if err := w.forgetBatches(`upload = ? AND settled > 0`, id); err != nil {
			return err
		}
		return sqlitex.Execute(w.conn, `DELETE FROM uploads WHERE upload = ? AND settled > 0`, &sqlitex.ExecOptions{Args: []any{id}})
	})
}

// Unsettled is an upload that is under way, and its place in the order of uploads.
type Unsettled struct {
	ID, Bucket, Key, ETag string
	Size                  int64
	Origin                events.Origin
}

// Unsettled lists up to limit uploads, the oldest first, that are not settled.
func (db *DB) Unsettled(ctx context.Context, limit int) ([]Unsettled, error) {
	var list []Unsettled
	err := db.read(ctx, "listing uploads under way", func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, `SELECT upload, bucket, key, etag, size, origin FROM uploads
			WHERE settled = 0 ORDER BY origin LIMIT ?`,
			&sqlitex.ExecOptions{Args: []any{limit}, ResultFunc: func(stmt *sqlite.Stmt) error {
				list = append(list, Unsettled{
					ID: stmt.ColumnText(0), Bucket: stmt.ColumnText(1), Key: stmt.ColumnText(2), ETag: stmt.ColumnText(3),
					Size: stmt.ColumnInt64(4), Origin: events.Origin(stmt.ColumnText(5)),
				})
				return nil
			}})
	})
	return list, err
}

// Restart brings the record of an upload that is not settled back to where Begin left it, and tells whether it was one: for
// when its event or its batches are lost, and the event is about to come anew. What it has brought to the table stays
// there, and is counted when it is brought again.
func (db *DB) Restart(ctx context.Context, id string) (restarted bool, err error) {
	err = db.write(ctx, "restarting upload "+id, func(w *writer) error {
		if err := w.forgetBatches(`upload = ? AND settled = 0`, id); err != nil {
			return err
		}
		err := sqlitex.Execute(w.conn, `UPDATE uploads SET status = 'publishing', failure = NULL, format = '', rejects_at = '',
			rows = 0, applied = 0, superseded = 0, rejected = 0, batches = 0, batches_applied = 0, published = 0
			WHERE upload = ? AND settled = 0`, &sqlitex.ExecOptions{Args: []any{id}})
		restarted = w.conn.Changes() > 0
		return err
	})
	return restarted, err
}

// forgetBatches removes what is known of the batches, and the rejects, of the upload that the condition picks.
func (w *writer) forgetBatches(which, id string) error {
	for _, table := range []string{"batches", "rejects"} {
		if err := sqlitex.Execute(w.conn, `DELETE FROM `+table+` WHERE upload IN (SELECT id FROM uploads WHERE `+which+`)`,
			&sqlitex.ExecOptions{Args: []any{id}}); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
	}
	return nil
}
