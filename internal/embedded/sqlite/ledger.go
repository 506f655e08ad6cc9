package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/flavorless/flavorless/events"
)

// Begin creates the record of an upload, with the status publishing and with Sorted set to sort. If the event was
// delivered before, Begin returns the existing record unchanged. The error is events.ErrPermanent if the object has no
// valid origin.
func (db *DB) Begin(ctx context.Context, o events.Object, sort bool) (events.Upload, error) {
	id := o.UploadID()
	origin, err := o.Origin()
	if err != nil {
		return events.Upload{}, fmt.Errorf("beginning upload %s of %s: %w: %w", id, o.Key, events.ErrPermanent, err)
	}
	var u events.Upload
	err = db.write(ctx, "beginning upload "+id, func(w *writer) error {
		err := exec(w.conn,
			`INSERT INTO uploads (upload, origin, bucket, key, version_id, etag, size, uploaded, started, sorted)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (upload) DO UPDATE SET
				bucket = excluded.bucket, key = excluded.key, version_id = excluded.version_id, etag = excluded.etag,
				size = excluded.size, uploaded = excluded.uploaded, sorted = excluded.sorted
			WHERE key = '' -- created by Apply; the key of an object is never empty`,
			id, string(origin), o.Bucket, o.Key, o.VersionID, o.ETag, o.Size, toMillis(o.Time), db.now(), sort)
		if err != nil {
			return err
		}
		u, err = readUpload(w.conn, id)
		return err
	})
	return u, err
}

// Seal records how the reading of the upload's file ended. Only the first call for an upload has an effect. If all
// batches have been applied, the upload becomes live or failed, and settled is its record. Exactly one call of Seal or
// Apply returns a settled record for an upload. The error is events.ErrNotFound if neither Begin nor Apply was called
// before.
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
		err = exec(w.conn,
			`UPDATE uploads SET status = 'applying', format = ?, rows = ?, superseded = superseded + ?, rejected = ?,
			batches = ?, rejects_at = ?, failure = ?, published = ? WHERE id = ? AND status = 'publishing'`,
			r.Format, r.Rows, r.Superseded, r.Rejected, r.Batches, r.RejectsAt, failure, toMillis(r.At), n)
		if err != nil || w.conn.Changes() == 0 {
			return err
		}
		if len(r.Rejects) > 0 {
			if err := exec(w.conn, `INSERT INTO rejects (upload, list) VALUES (?, ?)`, n, string(rejects)); err != nil {
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
		db.checkCounts(ctx, settled)
	}
	return settled, nil
}

// BeginComparing announces that the batches of an upload may leave rows unchanged. From then on, Apply repairs what
// older uploads write; see [events.Repair]. It is called before the first batch is published, and may be repeated. It
// returns false if too many uploads are comparing that are newer than the oldest unsettled one, because a batch of that
// one needs rows of all of them. The error is events.ErrNotFound if neither Begin nor Apply was called before.
func (db *DB) BeginComparing(ctx context.Context, id string) (compare bool, err error) {
	err = db.write(ctx, "announcing comparing upload "+id, func(w *writer) error {
		n, err := uploadNumber(w.conn, id)
		if err != nil {
			return err
		}
		err = exec(w.conn, `UPDATE uploads SET comparing = 1 WHERE id = ?1 AND (comparing = 1 OR ?2 > (
			SELECT count(*) FROM uploads WHERE comparing = 1 AND origin > (SELECT min(origin) FROM uploads WHERE settled = 0)))`,
			n, maxComparing)
		compare = w.conn.Changes() > 0
		return err
	})
	return compare, err
}

// maxComparing is the maximum number of comparing uploads that are newer than an unsettled one.
const maxComparing = 16

// settle makes a sealed upload live or failed if all its batches have been applied. It returns the record if it did.
//
// A failed upload can have more batches than its ReadSummary: an earlier run published them and was killed before it
// could seal, and the object was gone when the event was delivered again. Their rows are in the table, so they are
// counted: Rows and Batches are raised to what was applied. Such batches may arrive even after the upload has failed.
func (w *writer) settle(upload, now int64) (*events.Upload, error) {
	err := exec(w.conn,
		`UPDATE uploads SET status = iif(failure IS NULL, 'live', 'failed'), settled = ?,
		comparing = iif(failure IS NULL AND unchanged = 0, 0, comparing), -- older uploads then need no repair
		batches = iif(failure IS NULL, batches, batches_applied),
		rows = iif(failure IS NULL, rows, applied + unchanged + superseded + rejected)
		WHERE id = ? AND status = 'applying' AND batches_applied >= batches`,
		now, upload)
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

// checkCounts logs an error if the counts of a settled upload don't add up. Only a ReadSummary that does not match what
// was published can cause that.
func (db *DB) checkCounts(ctx context.Context, u *events.Upload) {
	c := u.Counts
	if c.Outcomes() != c.Rows || c.BatchesApplied != c.Batches {
		db.cfg.Logger.ErrorContext(ctx, "the counts of an upload do not add up",
			slog.String("upload", u.ID), slog.Any("counts", c))
	}
}
