package sqlite

import (
	"context"
	"errors"

	"zombiezen.com/go/sqlite"

	"github.com/flavorless/flavorless/events"
)

// maxSteps is the number of stored rows that findUnchanged passes to reach the next person. Beyond it, searching the
// tree again costs less.
const maxSteps = 16

// findUnchanged reports, for each candidate, whether it is the newest row of its person in the call and need not be
// written. It reads the table in the order of the candidates, which are sorted by person, and reads no row twice. If
// most people of the table are in the batches, that takes a third of the time of an upsert of each.
func (a *application) findUnchanged(ctx context.Context, candidates []candidate) (unchanged []bool, err error) {
	unchanged = make([]bool, len(candidates))
	scan := favoritesScan{writer: a.writer}
	defer func() { err = errors.Join(err, scan.close()) }()
	for i, c := range candidates {
		if err := yield(ctx, i); err != nil {
			return nil, err
		}
		b := &a.batches[c.batch]
		row := b.Rows[c.row]
		if !b.Compare || row.Remove || i > 0 && c.person == candidates[i-1].person {
			continue
		}
		found, err := scan.seek(c.person)
		if err != nil {
			return nil, err
		}
		if !found || !b.Skips(row, scan.flavor()) {
			continue
		}
		a.match = match{origin: a.parts[c.batch].origin, offset: row.Offset}
		if err := a.decide(scan.stmt.ColumnInt64(1), scan.stmt.ColumnInt64(2)); err != nil {
			return nil, err
		}
		unchanged[i] = a.match.outcome == events.Applied
	}
	return unchanged, nil
}

// favoritesScan reads favorites in the order of the persons.
type favoritesScan struct {
	*writer
	stmt   *sqlite.Stmt // at a row if person is not empty
	person string       // of the current row
	ended  bool         // there are no further rows
}

// seek moves to the row of a person, which must come after the earlier ones, and reports whether there is one. The
// columns of stmt are then person, origin, offset and flavor.
func (s *favoritesScan) seek(person string) (found bool, err error) {
	for steps := 0; !s.ended && s.person < person; steps++ {
		if s.stmt == nil || steps == maxSteps {
			if err := s.start(person); err != nil {
				return false, err
			}
		}
		if err := s.step(); err != nil {
			return false, err
		}
	}
	return !s.ended && s.person == person, nil
}

// start begins a new search at the first person that is not before the given one.
func (s *favoritesScan) start(person string) (err error) {
	if s.stmt == nil {
		s.stmt, err = s.conn.Prepare(
			`SELECT person, origin, "offset", flavor FROM favorites WHERE person >= ? ORDER BY person`)
	} else {
		err = s.stmt.Reset()
	}
	if err == nil {
		s.stmt.BindText(1, person)
	}
	return err
}

func (s *favoritesScan) step() error {
	more, err := s.stmt.Step()
	if err != nil {
		return err
	}
	if s.ended = !more; more {
		s.person = s.stmt.ColumnText(0)
	}
	return nil
}

// flavor returns the flavor of the current row.
func (s *favoritesScan) flavor() string { return s.stmt.ColumnText(3) }

// close ends the search, so that the table can be written.
func (s *favoritesScan) close() error {
	if s.stmt == nil {
		return nil
	}
	return s.stmt.Reset()
}
