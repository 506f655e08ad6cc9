package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/flavorless/flavorless/events"
)

// Apply writes batches to the table and counts them, in one transaction. If it fails, or ctx ends, nothing was written,
// and the same call may be repeated. It does not modify the batches. The results are in the order of the batches.
//
// A batch that was applied before, in an earlier call or in this one, is a duplicate: nothing is written or counted. If
// several batches of a call name one person, the newest row is written and the others are superseded.
// If newer uploads are comparing, the rows that repair returns for them are written as well.
//
// Large calls are efficient: with 20,000 rows, a row costs half as much as with 2,000.
func (db *DB) Apply(
	ctx context.Context, batches []events.Batch, repair events.Repair,
) ([]events.BatchResult, error) {
	if len(batches) == 0 {
		return nil, nil
	}
	for _, b := range batches {
		if b.UploadID() == "" {
			return nil, fmt.Errorf("applying a batch: invalid origin %q: %w", b.Origin, events.ErrPermanent)
		}
	}
	var repairs repairs
	for {
		results, err := db.apply(ctx, batches, &repairs)
		if !errors.Is(err, errLate) {
			return results, err
		}
		rows, err := repair(ctx, repairs.missing, repairs.late)
		if err != nil {
			return nil, fmt.Errorf("reading rows of newer uploads: %w", err)
		}
		repairs.batches, repairs.known = append(repairs.batches, rows...), append(repairs.known, repairs.missing...)
	}
}

// repairs are the rows of newer comparing uploads that a call of Apply has to write as well.
type repairs struct {
	batches []events.Batch  // of the uploads in known
	known   []events.Origin // comparing uploads whose rows were read
	missing []events.Origin // those whose rows must be read before the call can be repeated
	late    []events.Batch  // the batches of the call that are no duplicates
}

// errLate means that rows of newer comparing uploads are missing. Nothing was written.
var errLate = errors.New("rows of newer uploads have to be written, too")

// look returns errLate if there are comparing uploads newer than the batches whose rows are missing. It runs in the
// transaction that writes the batches, so an upload that is announced later reads what they wrote. Duplicates were
// repaired before they were recorded.
func (a *application) look(r *repairs) (err error) {
	r.late = nil
	var oldest events.Origin
	for i, b := range a.batches[:a.counted] {
		if !a.parts[i].result.Duplicate {
			if r.late = append(r.late, b); oldest == "" || b.Origin < oldest {
				oldest = b.Origin
			}
		}
	}
	if len(r.late) == 0 {
		return nil
	}
	r.missing, err = appendRows(nil, a.conn, func(stmt *sqlite.Stmt) (events.Origin, error) {
		return events.Origin(stmt.ColumnText(0)), nil
	}, `SELECT origin FROM uploads WHERE comparing = 1 AND origin > ? ORDER BY origin`, string(oldest))
	r.missing = slices.DeleteFunc(r.missing, func(o events.Origin) bool { return slices.Contains(r.known, o) })
	if err == nil && len(r.missing) > 0 {
		err = errLate
	}
	return err
}

// apply does what Apply does, in one transaction. The error is errLate if repairs is incomplete.
func (db *DB) apply(ctx context.Context, batches []events.Batch, r *repairs) ([]events.BatchResult, error) {
	var results []events.BatchResult
	changed := false
	err := db.write(ctx, "applying batches", func(w *writer) error {
		a := application{writer: w, now: db.now(), batches: slices.Concat(batches, r.batches), counted: len(batches)}
		a.parts = make([]part, len(a.batches))
		a.expires = a.now + db.cfg.TombstoneRetention.Milliseconds()
		if err := a.recordBatches(); err != nil {
			return err
		}
		if err := a.look(r); err != nil {
			return err
		}
		tombstones, _, err := queryInt(w.conn, `SELECT EXISTS (SELECT 1 FROM removed)`)
		if err != nil {
			return err
		}
		a.tombstones = tombstones > 0
		if err = a.writeRows(ctx); err != nil {
			return err
		}
		if changed, err = a.storeChanges(); err != nil {
			return err
		}
		results, err = a.count()
		return err
	})
	if err != nil {
		return nil, err
	}
	if changed {
		db.arrived.send()
	}
	for _, r := range results {
		if r.Settled != nil {
			db.checkCounts(ctx, r.Settled)
		}
	}
	return results, nil
}

// application is the state of one call of Apply.
type application struct {
	*writer
	now     int64 // ms
	expires int64 // when tombstones of this call expire, in ms
	batches []events.Batch
	counted int    // number of batches at the front that are recorded and counted; the others are repairs
	parts   []part // one per batch

	tombstones bool // the table removed may hold tombstones
}

// part is what a call of Apply knows about one of its batches.
type part struct {
	upload  int64 // uploads.id
	origin  int64 // origins.id
	result  events.BatchResult
	changes []byte // encoded
}

// recordBatches records the batches as applied, and marks those that were recorded before as duplicates.
func (a *application) recordBatches() error {
	for i, b := range a.batches {
		p := &a.parts[i]
		var err error
		if p.origin, err = a.origins.number(b.Origin); err != nil {
			return err
		}
		if i >= a.counted {
			continue
		}
		if p.upload, err = a.uploadOf(b.Origin); err != nil {
			return err
		}
		err = exec(a.conn, `INSERT INTO batches (upload, first) VALUES (?, ?) ON CONFLICT DO NOTHING`, p.upload, b.First)
		if err != nil {
			return fmt.Errorf("recording batch %s: %w", b.ID(), err)
		}
		p.result.Duplicate = a.conn.Changes() == 0
	}
	return nil
}

// uploadOf returns the number of the upload's record. If Begin was not called yet, it creates a record with the data of
// the origin, which Begin will complete.
func (a *application) uploadOf(origin events.Origin) (int64, error) {
	id, _, err := queryInt(a.conn,
		`INSERT INTO uploads (upload, origin, uploaded, started) VALUES (?, ?, ?, ?)
		ON CONFLICT (upload) DO UPDATE SET upload = upload RETURNING id`,
		origin.UploadID(), string(origin), toMillis(origin.Time()), a.now)
	if err != nil {
		err = fmt.Errorf("finding the record of upload %s: %w", origin.UploadID(), err)
	}
	return id, err
}

// candidate is a row of one of the batches.
type candidate struct {
	person string
	batch  int // index in application.batches
	row    int // index in Batch.Rows
}

// writeRows writes the newest row of each person, sorted by person, unless the stored row is newer.
//
// It does not reorder the rows of a batch in place: a batch must stay unmodified for a second
// try. One sort over all batches also does more, because it finds the newest row of each person across batches.
func (a *application) writeRows(ctx context.Context) error {
	total := 0
	for i, b := range a.batches {
		if !a.parts[i].result.Duplicate {
			total += len(b.Rows)
		}
	}
	candidates := make([]candidate, 0, total)
	for i, b := range a.batches {
		if a.parts[i].result.Duplicate {
			continue
		}
		for j := range b.Rows {
			candidates = append(candidates, candidate{b.Rows[j].Person, i, j})
		}
	}
	slices.SortFunc(candidates, func(x, y candidate) int {
		if c := cmp.Compare(x.person, y.person); c != 0 {
			return c
		}
		return a.compareVersions(y, x)
	})
	unchanged, err := a.findUnchanged(ctx, candidates)
	if err != nil {
		return err
	}
	var newest candidate
	var outcome events.Outcome
	for i, c := range candidates {
		if err := yield(ctx, i); err != nil {
			return err
		}
		switch {
		case i == 0 || c.person != newest.person:
			newest = c
			if outcome = events.Unchanged; unchanged[i] {
				break
			}
			if outcome, err = a.writeRow(c); err != nil {
				return fmt.Errorf("writing %q: %w", c.person, err)
			}
		case a.compareVersions(c, newest) < 0:
			outcome = events.Superseded
		} // otherwise it is the same row again, which has the same outcome
		switch result := &a.parts[c.batch].result; outcome {
		case events.Superseded:
			result.Superseded++
		case events.Unchanged:
			result.Unchanged++
		default:
			result.Applied++
		}
	}
	return nil
}

// yield is called before the i-th row. Every 256 rows, it lets other goroutines run, such as those that answer readers,
// and returns the error of ctx. Without it, the slowest reads took half as long again while rows are applied.
func yield(ctx context.Context, i int) error {
	if i%256 > 0 {
		return nil
	}
	runtime.Gosched()
	return ctx.Err()
}

func (a *application) compareVersions(x, y candidate) int {
	if c := cmp.Compare(a.batches[x.batch].Origin, a.batches[y.batch].Origin); c != 0 {
		return c
	}
	return cmp.Compare(a.batches[x.batch].Rows[x.row].Offset, a.batches[y.batch].Rows[y.row].Offset)
}

// storeChanges stores the changes of each batch in the outbox, and reports whether there are any.
func (a *application) storeChanges() (changed bool, err error) {
	for i, p := range a.parts {
		if p.changes == nil {
			continue
		}
		changed = true
		if err := exec(a.conn, `INSERT INTO outbox (changes) VALUES (?)`, p.changes); err != nil {
			return false, fmt.Errorf("storing the changes of batch %s: %w", a.batches[i].ID(), err)
		}
	}
	return changed, nil
}

// count updates the counters of the uploads, settles complete uploads, and returns the results.
func (a *application) count() ([]events.BatchResult, error) {
	results := make([]events.BatchResult, a.counted)
	type sum struct{ applied, unchanged, superseded, batches int64 }
	sums := map[int64]sum{}
	last := map[int64]int{} // the last batch of each upload
	for i, p := range a.parts[:a.counted] {
		results[i] = p.result
		if p.result.Duplicate {
			continue
		}
		s := sums[p.upload]
		sums[p.upload] = sum{
			s.applied + p.result.Applied, s.unchanged + p.result.Unchanged, s.superseded + p.result.Superseded, s.batches + 1,
		}
		last[p.upload] = i
	}
	for upload, s := range sums {
		// A failed upload may get batches after it was settled, or more than it expects; see settle.
		err := exec(a.conn,
			`UPDATE uploads SET applied = applied + ?2, unchanged = unchanged + ?3, superseded = superseded + ?4,
			batches_applied = batches_applied + ?5, rows = rows + iif(status = 'failed', ?2 + ?3 + ?4, 0),
			batches = batches + iif(status = 'failed', ?5, 0) WHERE id = ?1`,
			upload, s.applied, s.unchanged, s.superseded, s.batches)
		if err != nil {
			return nil, fmt.Errorf("counting: %w", err)
		}
		if results[last[upload]].Settled, err = a.settle(upload, a.now); err != nil {
			return nil, err
		}
	}
	return results, nil
}
