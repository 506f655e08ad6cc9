package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// Upload returns the record of an upload, with its first rejects. The error is events.ErrNotFound if there is none.
func (db *DB) Upload(ctx context.Context, id string) (events.Upload, error) {
	var u events.Upload
	err := db.read(ctx, "reading upload "+id, func(conn *sqlite.Conn) (err error) {
		u, err = readUpload(conn, id)
		return err
	})
	return u, err
}

// Uploads returns up to limit uploads, newest first, in the order of their versions: those older than the upload
// before, or all if before is empty. The error is events.ErrNotFound if before is unknown. The records have no Rejects,
// which can be 70 KB each; Upload returns them.
func (db *DB) Uploads(ctx context.Context, before string, limit int) (list []events.Upload, err error) {
	if limit <= 0 {
		return nil, nil
	}
	err = db.read(ctx, "listing uploads", func(conn *sqlite.Conn) (err error) {
		if before == "" {
			list, err = appendRows(list, conn, scanUpload, selectUpload+` ORDER BY origin DESC LIMIT ?`, limit)
			return err
		}
		n, err := uploadNumber(conn, before)
		if err != nil {
			return err
		}
		list, err = appendRows(list, conn, scanUpload,
			selectUpload+` WHERE origin < (SELECT origin FROM uploads WHERE id = ?) ORDER BY origin DESC LIMIT ?`, n, limit)
		return err
	})
	return list, err
}

// uploadNumber returns the number of an upload's record.
func uploadNumber(conn *sqlite.Conn, id string) (int64, error) {
	n, found, err := queryInt(conn, `SELECT id FROM uploads WHERE upload = ?`, id)
	if err == nil && !found {
		err = fmt.Errorf("upload %q: %w", id, events.ErrNotFound)
	}
	return n, err
}

// readUpload returns the record of an upload with its rejects.
func readUpload(conn *sqlite.Conn, id string) (events.Upload, error) {
	n, err := uploadNumber(conn, id)
	if err != nil {
		return events.Upload{}, err
	}
	return readUploadNumber(conn, n)
}

// readUploadNumber returns a record with its rejects. One statement reads both, so they are consistent without a
// transaction.
func readUploadNumber(conn *sqlite.Conn, n int64) (u events.Upload, err error) {
	err = sqlitex.Execute(conn,
		`SELECT `+uploadColumns+`, (SELECT list FROM rejects WHERE upload = ?1) FROM uploads WHERE id = ?1`,
		&sqlitex.ExecOptions{Args: []any{n}, ResultFunc: func(stmt *sqlite.Stmt) (err error) {
			if u, err = scanUpload(stmt); err != nil {
				return err
			}
			u.Rejects = []events.Reject{}
			if list := stmt.ColumnText(stmt.ColumnCount() - 1); list != "" {
				if err := json.Unmarshal([]byte(list), &u.Rejects); err != nil {
					return fmt.Errorf("rejects of upload %s: %w", u.ID, err)
				}
			}
			return nil
		}})
	return u, err
}

const (
	uploadColumns = `upload, bucket, key, version_id, etag, size, status, failure, format, rejects_at,
		rows, applied, unchanged, superseded, rejected, batches, batches_applied, uploaded, started, published, settled,
		sorted`
	selectUpload = `SELECT ` + uploadColumns + ` FROM uploads`
)

// scanUpload converts a row of uploadColumns.
func scanUpload(stmt *sqlite.Stmt) (events.Upload, error) {
	col := -1
	next := func() int { col++; return col }
	text := func() string { return stmt.ColumnText(next()) }
	number := func() int64 { return stmt.ColumnInt64(next()) }
	u := events.Upload{
		ID: text(), Bucket: text(), Key: text(), VersionID: text(), ETag: text(), Size: number(),
		Status: events.Status(text()),
	}
	if failure := text(); failure != "" {
		if err := json.Unmarshal([]byte(failure), &u.Failure); err != nil {
			return events.Upload{}, fmt.Errorf("failure of upload %s: %w", u.ID, err)
		}
	}
	u.Format, u.RejectsAt = text(), text()
	u.Counts = events.Counts{
		Rows: number(), Applied: number(), Unchanged: number(), Superseded: number(), Rejected: number(),
		Batches: number(), BatchesApplied: number(),
	}
	u.Uploaded, u.Started = fromMillis(number()), fromMillis(number())
	u.Published, u.Settled = fromMillis(number()), fromMillis(number())
	u.Sorted = number() != 0
	return u, nil
}
