package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// Upload gives the record of an upload, with its first rejects; events.ErrNotFound if there is none.
func (db *DB) Upload(ctx context.Context, id string) (events.Upload, error) {
	var u events.Upload
	err := db.read(ctx, "reading upload "+id, func(conn *sqlite.Conn) (err error) {
		u, err = readUpload(conn, id)
		return err
	})
	return u, err
}

// Uploads lists up to limit uploads, the newest first, in the order of their versions: those older than the upload
// before, or from the newest on if before is empty. An unknown before is events.ErrNotFound. The records come without
// Rejects (nil), which can have 70 KB each: Upload has them.
func (db *DB) Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error) {
	var list []events.Upload
	if limit <= 0 {
		return nil, nil
	}
	err := db.read(ctx, "listing uploads", func(conn *sqlite.Conn) error {
		collect := func(stmt *sqlite.Stmt) error {
			u, err := scanUpload(stmt)
			list = append(list, u)
			return err
		}
		if before == "" {
			return sqlitex.Execute(conn, selectUpload+` ORDER BY origin DESC LIMIT ?`,
				&sqlitex.ExecOptions{Args: []any{limit}, ResultFunc: collect})
		}
		if _, err := uploadNumber(conn, before); err != nil {
			return err
		}
		return sqlitex.Execute(conn,
			selectUpload+` WHERE origin < (SELECT origin FROM uploads WHERE upload = ?) ORDER BY origin DESC LIMIT ?`,
			&sqlitex.ExecOptions{Args: []any{before, limit}, ResultFunc: collect})
	})
	return list, err
}

func uploadNumber(conn *sqlite.Conn, id string) (int64, error) {
	n := int64(-1)
	err := sqlitex.Execute(conn, `SELECT id FROM uploads WHERE upload = ?`,
		&sqlitex.ExecOptions{Args: []any{id}, ResultFunc: func(stmt *sqlite.Stmt) error {
			n = stmt.ColumnInt64(0)
			return nil
		}})
	if err == nil && n < 0 {
		err = fmt.Errorf("upload %q: %w", id, events.ErrNotFound)
	}
	return n, err
}

// readUpload reads a record with its rejects, in one statement: so they fit each other outside of a transaction, too.
func readUpload(conn *sqlite.Conn, id string) (events.Upload, error) {
	n, err := uploadNumber(conn, id)
	if err != nil {
		return events.Upload{}, err
	}
	return readUploadNumber(conn, n)
}

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
		rows, applied, superseded, rejected, batches, batches_applied, uploaded, started, published, settled`
	selectUpload = `SELECT ` + uploadColumns + ` FROM uploads`
)

// scanUpload reads uploadColumns.
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
		Rows: number(), Applied: number(), Superseded: number(), Rejected: number(),
		Batches: number(), BatchesApplied: number(),
	}
	u.Uploaded, u.Started = fromMillis(number()), fromMillis(number())
	u.Published, u.Settled = fromMillis(number()), fromMillis(number())
	return u, nil
}
