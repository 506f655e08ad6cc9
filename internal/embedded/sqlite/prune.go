package sqlite

import (
	"context"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/flavorless/flavorless/events"
)

// maxPruned limits how long Prune blocks other writers.
const maxPruned = 10_000

// Prune deletes up to 10,000 expired tombstones and returns their number. Call it again until it returns 0.
func (db *DB) Prune(ctx context.Context) (int, error) {
	n := 0
	err := db.write(ctx, "pruning tombstones", func(w *writer) error {
		err := exec(w.conn, `DELETE FROM removed WHERE person IN
			(SELECT person FROM removed WHERE expires <= ? ORDER BY expires LIMIT ?)`, db.now(), maxPruned)
		n = w.conn.Changes()
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Settled returns up to limit uploads that were settled before the given time and are not among the newest uploads,
// oldest first. They are the candidates for Forget. The records have no Rejects.
func (db *DB) Settled(ctx context.Context, before time.Time, newest, limit int) (list []events.Upload, err error) {
	err = db.read(ctx, "listing old uploads", func(conn *sqlite.Conn) (err error) {
		list, err = appendRows(list, conn, scanUpload, selectUpload+` WHERE settled > 0 AND settled < ?
			AND origin <= (SELECT origin FROM uploads ORDER BY origin DESC LIMIT 1 OFFSET ?) ORDER BY origin LIMIT ?`,
			toMillis(before), newest, limit)
		return err
	})
	return list, err
}

// Forget deletes the record of a settled upload, its rejects and the records of its batches; its rows stay in the
// table. It has no effect on other uploads. The caller must make sure that no event or batch of the upload arrives
// afterwards, because it would be taken for one of a new upload.
func (db *DB) Forget(ctx context.Context, id string) error {
	return db.write(ctx, "forgetting upload "+id, func(w *writer) error {
		if err := w.deleteBatches(`upload = ? AND settled > 0`, id); err != nil {
			return err
		}
		return exec(w.conn, `DELETE FROM uploads WHERE upload = ? AND settled > 0`, id)
	})
}

// Unsettled is an upload in progress. Origin is its position in the order of uploads.
type Unsettled struct {
	ID, Bucket, Key, ETag string
	Size                  int64 // bytes
	Origin                events.Origin
}

// Unsettled returns up to limit uploads that are not settled, oldest first.
func (db *DB) Unsettled(ctx context.Context, limit int) (list []Unsettled, err error) {
	err = db.read(ctx, "listing uploads in progress", func(conn *sqlite.Conn) (err error) {
		list, err = appendRows(list, conn, func(stmt *sqlite.Stmt) (Unsettled, error) {
			return Unsettled{
				ID: stmt.ColumnText(0), Bucket: stmt.ColumnText(1), Key: stmt.ColumnText(2), ETag: stmt.ColumnText(3),
				Size: stmt.ColumnInt64(4), Origin: events.Origin(stmt.ColumnText(5)),
			}, nil
		}, `SELECT upload, bucket, key, etag, size, origin FROM uploads WHERE settled = 0 ORDER BY origin LIMIT ?`, limit)
		return err
	})
	return list, err
}

// Restart resets the record of an unsettled upload to its state after Begin, and reports whether there was one. It is
// for uploads whose event or batches are lost; the caller then repeats the event. The upload's rows stay in the table,
// and are counted when they are applied again. Upload.Sorted stays as well.
func (db *DB) Restart(ctx context.Context, id string) (restarted bool, err error) {
	err = db.write(ctx, "restarting upload "+id, func(w *writer) error {
		if err := w.deleteBatches(`upload = ? AND settled = 0`, id); err != nil {
			return err
		}
		err := exec(w.conn, `UPDATE uploads SET status = 'publishing', failure = NULL, format = '', rejects_at = '',
			rows = 0, applied = 0, unchanged = 0, superseded = 0, rejected = 0, batches = 0, batches_applied = 0, published = 0
			WHERE upload = ? AND settled = 0`, id)
		restarted = w.conn.Changes() > 0
		return err
	})
	return restarted, err
}

// deleteBatches deletes the records of the batches, and the rejects, of the upload that the condition selects.
func (w *writer) deleteBatches(condition, id string) error {
	for _, table := range []string{"batches", "rejects"} {
		query := `DELETE FROM ` + table + ` WHERE upload IN (SELECT id FROM uploads WHERE ` + condition + `)`
		if err := exec(w.conn, query, id); err != nil {
			return fmt.Errorf("deleting from %s: %w", table, err)
		}
	}
	return nil
}
