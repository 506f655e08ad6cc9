package dynamo

import "github.com/flavorless/flavorless/events"

// fold is the newest row of each person in the batches that are no duplicates.
type fold struct {
	rows  []row
	index map[string]int // index of each person in rows
}

// row is a row that may be written.
type row struct {
	events.Update
	origin  events.Origin
	version events.Version
	outcome events.Outcome
	stored  bool // the person was found in the table
	compare bool // of the row's batch
	batch   int  // number of the comparing batch, from 1, in which the person was first met; 0 for another batch
}

func newFold(parts []part) *fold {
	n := 0
	for _, p := range parts {
		if !p.result.Duplicate {
			n += len(p.Rows)
		}
	}
	f := &fold{rows: make([]row, 0, n), index: make(map[string]int, n)}
	for n, p := range parts {
		if p.result.Duplicate {
			continue
		}
		for _, u := range p.Rows {
			mine := row{Update: u, origin: p.Origin, outcome: events.Applied, compare: p.Compare}
			if p.Compare {
				mine.batch = n + 1
			}
			if i, met := f.index[u.Person]; !met {
				f.index[u.Person] = len(f.rows)
				f.rows = append(f.rows, mine)
			} else if newer(p.Origin, u.Offset, &f.rows[i]) {
				mine.batch = f.rows[i].batch // it takes the place of the older row
				f.rows[i] = mine
			}
		}
	}
	for i := range f.rows { // not before, because a version takes memory
		f.rows[i].version = f.rows[i].origin.At(f.rows[i].Offset)
	}
	return f
}

func newer(origin events.Origin, offset int64, than *row) bool {
	return origin > than.origin || origin == than.origin && offset > than.Offset
}

// count counts every row of the batches by the outcome of its person's newest row.
func (f *fold) count(parts []part) {
	for i := range parts {
		p := &parts[i]
		if p.result.Duplicate {
			continue
		}
		for _, u := range p.Rows {
			// The same row may be in two batches, after a change of their size. Both have the same outcome.
			newest := &f.rows[f.index[u.Person]]
			switch {
			case newest.outcome == events.Superseded,
				newer(newest.origin, newest.Offset, &row{Update: u, origin: p.Origin}):
				p.result.Superseded++
			case newest.outcome == events.Unchanged:
				p.result.Unchanged++
			default:
				p.result.Applied++
			}
		}
	}
}

// decide sets the row's outcome by comparing it with the stored item, which needs the attributes version and, for a
// comparing batch, flavor.
func (r *row) decide(stored item) {
	r.stored = true
	r.outcome = events.Decide(events.Version(textOf(stored["version"])), r.version)
	batch := events.Batch{Compare: r.compare}
	if r.outcome == events.Applied && batch.Skips(r.Update, textOf(stored["flavor"])) {
		r.outcome = events.Unchanged
	}
}
