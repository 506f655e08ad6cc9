package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// Apply writes batches to the table and counts them, in one transaction: after an error nothing of it happened, and the
// same call may be repeated. It leaves the batches as they are. The tallies are in the order of the batches.
//
// A batch that was applied before, also earlier in the same call, is a duplicate: nothing is written or counted. Where
// several batches of a call name one person, the newest row is written and the others are superseded.
//
// Large calls pay: 20,000 rows cost half as much a row as 2,000 do. When ctx ends, Apply ends without having done
// anything.
func (db *DB) Apply(ctx context.Context, batches []events.Batch) ([]events.BatchResult, error) {
	if len(batches) == 0 {
		return nil, nil
	}
	for _, b := range batches {
		if b.UploadID() == "" {
			return nil, fmt.Errorf("applying a batch: origin %q: %w", b.Origin, events.ErrPermanent)
		}
	}
	var tallies []events.BatchResult
	announce := false
	err := db.write(ctx, "applying batches", func(w *writer) error {
		a := application{ctx: ctx, writer: w, now: db.now(), batches: batches, parts: make([]part, len(batches))}
		a.expires = a.now + db.cfg.TombstoneRetention.Milliseconds()
		var err error
		if err = a.record(); err != nil {
			return err
		}
		tombstones, err := integer(w.conn, `SELECT EXISTS (SELECT 1 FROM removed)`)
		if err != nil {
			return err
		}
		a.tombstones = tombstones > 0
		if err = a.rows(); err != nil {
			return err
		}
		if announce, err = a.outbox(); err != nil {
			return err
		}
		tallies, err = a.count()
		return err
	})
	if err != nil {
		return nil, err
	}
	if announce {
		db.arrived.send()
	}
	for _, t := range tallies {
		if t.Settled != nil {
			db.logSettled(ctx, t.Settled)
		}
	}
	return tallies, nil
}

// application is one call of Apply.
type application struct {
	*writer
	ctx     context.Context
	now     int64 // ms
	expires int64 // ms; of the tombstones of this call
	batches []events.Batch
	parts   []part // one a batch

	tombstones bool // whether anybody is in removed
}

type part struct {
	upload  int64 // uploads.id
	origin  int64 // origins.id
	tally   events.BatchResult
	changes []byte // encoded
}

// record marks the batches as applied, and finds those that are already.
func (a *application) record() error {
	for i, b := range a.batches {
		p := &a.parts[i]
		var err error
		if p.origin, err = a.origins.number(b.Origin); err != nil {
			return err
		}
		if p.upload, err = a.uploadOf(b.Origin); err != nil {
			return err
		}
		err = sqlitex.Execute(a.conn, `INSERT INTO batches (upload, first) VALUES (?, ?) ON CONFLICT DO NOTHING`,
			&sqlitex.ExecOptions{Args: []any{p.upload, b.First}})
		if err != nil {
			return fmt.Errorf("recording batch %s: %w", b.ID(), err)
		}
		p.tally.Duplicate = a.conn.Changes() == 0
	}
	return nil
}

// uploadOf gives the number of the upload's record. Where Begin has not been, it makes one that holds only what the
// origin says; Begin will fill it in.
func (a *application) uploadOf(origin events.Origin) (id int64, err error) {
	err = sqlitex.Execute(a.conn,
		`INSERT INTO uploads (upload, origin, uploaded, started) VALUES (?, ?, ?, ?)
		ON CONFLICT (upload) DO UPDATE SET upload = upload RETURNING id`,
		&sqlitex.ExecOptions{
			Args: []any{origin.UploadID(), string(origin), toMillis(origin.Time()), a.now},
			ResultFunc: func(stmt *sqlite.Stmt) error {
				id = stmt.ColumnInt64(0)
				return nil
			},
		})
	if err != nil {
		err = fmt.Errorf("finding the record of upload %s: %w", origin.UploadID(), err)
	}
	return id, err
}

// candidate is a row of one of the batches.
type candidate struct {
	person string
	batch  int
	row    int
}

// rows writes the newest row of each person, sorted by person, where nothing newer is stored.
//
// events.Fold is not used: it works in the memory of the batch, which must stay whole for a second try, and one sort over
// all batches does the folding of each and of all together.
func (a *application) rows() error {
	total := 0
	for i, b := range a.batches {
		if !a.parts[i].tally.Duplicate {
			total += len(b.Rows)
		}
	}
	candidates := make([]candidate, 0, total)
	for i, b := range a.batches {
		if a.parts[i].tally.Duplicate {
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
	var newest candidate
	var outcome events.Outcome
	for i, c := range candidates {
		if i%1024 == 0 && a.ctx.Err() != nil {
			return a.ctx.Err()
		}
		switch {
		case i == 0 || c.person != newest.person:
			newest = c
			var err error
			if outcome, err = a.settleRow(c); err != nil {
				return fmt.Errorf("writing %q: %w", c.person, err)
			}
		case a.compareVersions(c, newest) < 0:
			outcome = events.Superseded
		} // else the very same row again: it has the same outcome
		if outcome == events.Superseded {
			a.parts[c.batch].tally.Superseded++
		} else {
			a.parts[c.batch].tally.Applied++
		}
	}
	return nil
}

func (a *application) compareVersions(x, y candidate) int {
	if c := cmp.Compare(a.batches[x.batch].Origin, a.batches[y.batch].Origin); c != 0 {
		return c
	}
	return cmp.Compare(a.batches[x.batch].Rows[x.row].Offset, a.batches[y.batch].Rows[y.row].Offset)
}

// settleRow holds one row against the table, writes it if it is newer, and keeps what changed.
func (a *application) settleRow(c candidate) (events.Outcome, error) {
	p, row := &a.parts[c.batch], a.batches[c.batch].Rows[c.row]
	a.match = match{origin: p.origin, offset: row.Offset, outcome: events.Applied}
	has, err := row.Flavor, error(nil)
	if row.Remove {
		has, err = "", a.remove(row)
	} else {
		err = a.set(row)
	}
	if err != nil {
		return 0, err
	}
	if a.match.outcome == events.Applied {
		// The version is left out: making its text costs more than comparing does, and the decoder has the parts.
		if change, changed := events.NewChange(row.Person, a.match.had, has, ""); changed {
			if p.changes == nil {
				p.changes = appendOrigin(nil, a.batches[c.batch].Origin)
			}
			p.changes = appendChange(p.changes, row.Offset, change)
		}
	}
	return a.match.outcome, nil
}

// set stores a person's flavor where nothing newer is stored.
func (a *application) set(row events.Update) error {
	stmt, err := a.conn.Prepare(
		`INSERT INTO favorites (person, origin, "offset", flavor) VALUES (?, ?, ?, ?)
		ON CONFLICT (person) DO UPDATE SET origin = excluded.origin, "offset" = excluded."offset", flavor = excluded.flavor
		WHERE newer(favorites.origin, favorites."offset", favorites.flavor)`)
	if err != nil {
		return err
	}
	stmt.BindText(1, row.Person)
	stmt.BindInt64(2, a.match.origin)
	stmt.BindInt64(3, row.Offset)
	stmt.BindText(4, row.Flavor)
	if err := run(stmt); err != nil || a.match.stored || !a.tombstones {
		return err
	}
	return a.bringBack(row)
}

// bringBack removes the tombstone of a person who was just added to favorites, or the person if the tombstone is newer. It
// comes after the upsert so that only those pay for it who were not in favorites.
func (a *application) bringBack(row events.Update) error {
	stmt, err := a.conn.Prepare(`SELECT origin, "offset" FROM removed WHERE person = ?`)
	if err != nil {
		return err
	}
	stmt.BindText(1, row.Person)
	found, err := stmt.Step()
	if err != nil {
		return err
	}
	origin, offset := stmt.ColumnInt64(0), stmt.ColumnInt64(1)
	if err := stmt.Reset(); err != nil || !found {
		return err
	}
	if err := a.decide(origin, offset); err != nil {
		return err
	}
	query := `DELETE FROM removed WHERE person = ?`
	if a.match.outcome != events.Applied {
		query = `DELETE FROM favorites WHERE person = ?`
	}
	if stmt, err = a.conn.Prepare(query); err != nil {
		return err
	}
	stmt.BindText(1, row.Person)
	return run(stmt)
}

// remove puts a tombstone in a person's place where nothing newer is stored.
func (a *application) remove(row events.Update) error {
	stmt, err := a.conn.Prepare(`DELETE FROM favorites WHERE person = ? AND newer(origin, "offset", flavor)`)
	if err != nil {
		return err
	}
	stmt.BindText(1, row.Person)
	if err := run(stmt); err != nil || a.match.outcome != events.Applied {
		return err
	}
	stmt, err = a.conn.Prepare(
		`INSERT INTO removed (person, origin, "offset", expires) VALUES (?, ?, ?, ?)
		ON CONFLICT (person) DO UPDATE SET origin = excluded.origin, "offset" = excluded."offset", expires = excluded.expires
		WHERE newer(removed.origin, removed."offset", '')`)
	if err != nil {
		return err
	}
	stmt.BindText(1, row.Person)
	stmt.BindInt64(2, a.match.origin)
	stmt.BindInt64(3, row.Offset)
	stmt.BindInt64(4, a.expires)
	a.tombstones = true
	return run(stmt)
}

// run executes a statement that returns no rows.
func run(stmt *sqlite.Stmt) error {
	if _, err := stmt.Step(); err != nil {
		return err
	}
	return stmt.Reset()
}

// match is a row that is being written, and what it met. The statements call newer if and only if the person is stored, so
// it starts as what it is otherwise: applied, where there was nothing.
type match struct {
	origin, offset int64 // mine
	outcome        events.Outcome
	had            string // the flavor that was stored; empty for a tombstone
	stored         bool   // there was a row of the person in the table that the statement writes to
}

// newer is the SQL function that decides whether a stored row gives way. It spares reading each row before it is
// written: a fifth of the time of a first load.
func (w *writer) newer(_ sqlite.Context, stored []sqlite.Value) (sqlite.Value, error) {
	w.match.stored = true
	if err := w.decide(stored[0].Int64(), stored[1].Int64()); err != nil {
		return sqlite.Value{}, err
	}
	if w.match.outcome != events.Applied {
		return sqlite.IntegerValue(0), nil
	}
	w.match.had = stored[2].Text()
	return sqlite.IntegerValue(1), nil
}

// decide sets the outcome of the row that is being written, which meets a row of that version.
func (w *writer) decide(origin, offset int64) error {
	m := &w.match
	mine, err := w.origins.text(m.origin)
	if err != nil {
		return err
	}
	if origin == m.origin {
		m.outcome = events.Decide(mine.At(offset), mine.At(m.offset))
	} else {
		theirs, err := w.origins.text(origin)
		if err != nil {
			return err
		}
		// Versions begin with the origin, which has a fixed width: where origins differ, they decide.
		m.outcome = events.Decide(events.Version(theirs), events.Version(mine))
	}
	return nil
}

// count moves the counters of the uploads and settles those that are complete.
func (a *application) count() ([]events.BatchResult, error) {
	tallies := make([]events.BatchResult, len(a.parts))
	type sum struct{ applied, superseded, batches int64 }
	sums := map[int64]sum{}
	last := map[int64]int{} // the last batch of each upload
	for i, p := range a.parts {
		tallies[i] = p.tally
		if p.tally.Duplicate {
			continue
		}
		s := sums[p.upload]
		sums[p.upload] = sum{s.applied + p.tally.Applied, s.superseded + p.tally.Superseded, s.batches + 1}
		last[p.upload] = i
	}
	for upload, s := range sums {
		// A failed upload may meet batches after it was settled, or more than it knows of: see settle.
		err := sqlitex.Execute(a.conn,
			`UPDATE uploads SET applied = applied + ?2, superseded = superseded + ?3, batches_applied = batches_applied + ?4,
			rows = rows + iif(status = 'failed', ?2 + ?3, 0), batches = batches + iif(status = 'failed', ?4, 0)
			WHERE id = ?1`,
			&sqlitex.ExecOptions{Args: []any{upload, s.applied, s.superseded, s.batches}})
		if err != nil {
			return nil, fmt.Errorf("counting: %w", err)
		}
		if tallies[last[upload]].Settled, err = a.settle(upload, a.now); err != nil {
			return nil, err
		}
	}
	return tallies, nil
}
