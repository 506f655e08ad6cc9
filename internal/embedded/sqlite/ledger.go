package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// Begin opens the upload's record, with the status publishing, or returns the one that exists, unchanged: then the event
// was delivered before. An object that no origin can be made of is events.ErrPermanent.
func (db *DB) Begin(ctx context.Context, o events.Object) (events.Upload, error) {
	id := o.UploadID()
	origin, err := o.Origin()
	if err != nil {
		return events.Upload{}, fmt.Errorf("beginning upload %s of %s: %w: %w", id, o.Key, events.ErrPermanent, err)
	}
	var u events.Upload
	err = db.write(ctx, "beginning upload "+id, func(w *writer) error {
		err := sqlitex.Execute(w.conn,
			`INSERT INTO uploads (upload, origin, bucket, key, version_id, etag, size, uploaded, started)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (upload) DO UPDATE SET
				bucket = excluded.bucket, key = excluded.key, version_id = excluded.version_id, etag = excluded.etag,
				size = excluded.size, uploaded = excluded.uploaded
			WHERE key = '' -- made by Apply: no object has an empty key`,
			&sqlitex.ExecOptions{Args: []any{
				id, string(origin), o.Bucket, o.Key, o.VersionID, o.ETag, o.Size, toMillis(o.Time), db.now(),
			}})
		if err != nil {
			return err
		}
		u, err = readUpload(w.conn, id)
		return err
	})
	return u, err
}

// Seal records how the reading of the upload's file ended; the first time counts, later ones change nothing. If every
// batch has been applied by then, the upload becomes live or failed here, and settled is its record. Of all calls of
// Seal and Apply exactly one tells so. Without Begin or Apply before, it is events.ErrNotFound.
func (db *DB) Seal(ctx context.Context, id string, r events.ReadSummary) (settled *events.Upload, err error) {
	var failure any
	if r.Failure != nil {
		text, err := json.Marshal(r.Failure)
		if err != nil {
			return nil, fmt.Errorf("sealing upload %s: %w", id, err)
		}
		failure = string(text)
	}
	rejects, err := json.Marshal(r.Rejects[:min(len(r.Rejects), events.MaxRejects)])
	if err != nil {
		return nil, fmt.Errorf("sealing upload %s: %w", id, err)
	}
	err = db.write(ctx, "sealing upload "+id, func(w *writer) error {
		n, err := uploadNumber(w.conn, id)
		if err != nil {
			return err
		}
		err = sqlitex.Execute(w.conn,
			`UPDATE uploads SET status = 'applying', format = ?, rows = ?, rejected = ?, batches = ?, rejects_at = ?,
			failure = ?, published = ? WHERE id = ? AND status = 'publishing'`,
			&sqlitex.ExecOptions{Args: []any{
				r.Format, r.Rows, r.Rejected, r.Batches, r.RejectsAt, failure, toMillis(r.At), n,
			}})
		if err != nil || w.conn.Changes() == 0 {
			return err
		}
		if len(r.Rejects) > 0 {
			err := sqlitex.Execute(w.conn, `INSERT INTO rejects (upload, list) VALUES (?, ?)`,
				&sqlitex.ExecOptions{Args: []any{n, string(rejects)}})
			if err != nil {
				return err
			}
		}
		settled, err = w.settle(n, db.now())
		return err
	})
	if err != nil {
		return nil, err
	}
	if settled != nil {
		db.logSettled(ctx, settled)
	}
	return settled, nil
}

// settle makes a sealed upload whose batches have all been applied live, or failed, and returns its record if it did.
//
// A failed upload can have more batches than its reading knows: an earlier run published them and was killed before it
// could seal, and when the event came again the object had vanished. These rows are in the table, so they are counted:
// Rows and Batches grow to what was applied. They may still come after the upload has failed.
func (w *writer) settle(upload, now int64) (*events.Upload, error) {
	err := sqlitex.Execute(w.conn,
		`UPDATE uploads SET status = iif(failure IS NULL, 'live', 'failed'), settled = ?,
		batches = iif(failure IS NULL, batches, batches_applied),
		rows = iif(failure IS NULL, rows, applied + superseded + rejected)
		WHERE id = ? AND status = 'applying' AND batches_applied >= batches`,
		&sqlitex.ExecOptions{Args: []any{now, upload}})
	if err != nil {
		return nil, fmt.Errorf("settling: %w", err)
	}
	if w.conn.Changes() == 0 {
		return nil, nil
	}
	u, err := readUploadNumber(w.conn, upload)
	if err != nil {
		return nil, fmt.Errorf("settling: %w", err)
	}
	return &u, nil
}

func (db *DB) logSettled(ctx context.Context, u *events.Upload) {
	c := u.Counts
	if c.Applied+c.Superseded+c.Rejected != c.Rows || c.BatchesApplied != c.Batches {
		// Only a reading that did not count what it published can do that.
		db.cfg.Logger.ErrorContext(ctx, "the counts of an upload do not add up",
			slog.String("upload", u.ID), slog.Any("counts", c))
	}
}
