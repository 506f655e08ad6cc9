package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// OutboxRecord is what one batch changed. Seq grows with time and is never used twice.
type OutboxRecord struct {
	Seq     int64
	Changes []events.Change // one or more
}

// Pending gives up to limit records of changes that have not been announced, in the order in which they were stored.
func (db *DB) Pending(ctx context.Context, limit int) ([]OutboxRecord, error) {
	var pending []OutboxRecord
	if limit <= 0 {
		return nil, nil
	}
	err := db.read(ctx, "reading the outbox", func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, `SELECT seq, changes FROM outbox ORDER BY seq LIMIT ?`, &sqlitex.ExecOptions{
			Args: []any{limit},
			ResultFunc: func(stmt *sqlite.Stmt) error {
				blob := make([]byte, stmt.ColumnLen(1))
				stmt.ColumnBytes(1, blob)
				changes, err := decodeChanges(blob)
				if err != nil {
					return fmt.Errorf("record %d: %w", stmt.ColumnInt64(0), err)
				}
				pending = append(pending, OutboxRecord{stmt.ColumnInt64(0), changes})
				return nil
			},
		})
	})
	return pending, err
}

// Backlog tells how many records wait to be announced, and when the file was uploaded that the oldest belongs to; zero
// without one. It costs two look-ups, however many there are: numbers are given in a row, and removed from the front.
func (db *DB) Backlog(ctx context.Context) (records int64, oldest time.Time, err error) {
	err = db.read(ctx, "looking into the outbox", func(conn *sqlite.Conn) error {
		// An origin has less than 200 bytes.
		return sqlitex.Execute(conn, `SELECT (SELECT max(seq) FROM outbox) - seq + 1, substr(changes, 1, 200) FROM outbox ORDER BY seq LIMIT 1`,
			&sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
				front := make([]byte, stmt.ColumnLen(1))
				stmt.ColumnBytes(1, front)
				in := recordReader{rest: string(front)}
				origin, err := events.ParseOrigin(in.text())
				if err != nil {
					return fmt.Errorf("the oldest record: %w", err)
				}
				records, oldest = stmt.ColumnInt64(0), origin.Time()
				return nil
			}})
	})
	return records, oldest, err
}

// Announced removes the records up to and including that one: their changes have been accepted by the changes topic.
func (db *DB) Announced(ctx context.Context, upTo int64) error {
	return db.write(ctx, "removing announced changes", func(w *writer) error {
		return sqlitex.Execute(w.conn, `DELETE FROM outbox WHERE seq <= ?`, &sqlitex.ExecOptions{Args: []any{upTo}})
	})
}

// WaitPending returns as soon as there are changes to announce, at once if there are some; with ctx's error when it ends
// first.
func (db *DB) WaitPending(ctx context.Context) error {
	for {
		arrived := db.arrived.next() // before looking, so that nothing arrives unnoticed in between
		some := false
		err := db.read(ctx, "looking into the outbox", func(conn *sqlite.Conn) error {
			return sqlitex.Execute(conn, `SELECT 1 FROM outbox LIMIT 1`, &sqlitex.ExecOptions{
				ResultFunc: func(*sqlite.Stmt) error { some = true; return nil },
			})
		})
		if err != nil || some {
			return err
		}
		select {
		case <-arrived:
		case <-db.closed:
			return fmt.Errorf("waiting for changes: %w", errClosed)
		case <-ctx.Done():
			return fmt.Errorf("waiting for changes: %w", ctx.Err())
		}
	}
}

// signal wakes all who wait for it.
type signal struct {
	mu sync.Mutex
	c  chan struct{} // closed by the next send; nil when nobody asked since the last
}

func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) send() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// outbox stores the changes of each batch that has some, and tells whether any has.
func (a *application) outbox() (some bool, err error) {
	for i, p := range a.parts {
		if p.changes == nil {
			continue
		}
		some = true
		err := sqlitex.Execute(a.conn, `INSERT INTO outbox (changes) VALUES (?)`, &sqlitex.ExecOptions{Args: []any{p.changes}})
		if err != nil {
			return false, fmt.Errorf("storing the changes of batch %s: %w", a.batches[i].ID(), err)
		}
	}
	return some, nil
}

// A record of the outbox is the batch's origin and then its changes, 1,700 of them in 60 KB: offset as a varint; person,
// flavor and previous each as a varint of its length and the text, where none is empty. The kind follows from these.

func appendOrigin(b []byte, origin events.Origin) []byte { return appendText(b, string(origin)) }

func appendChange(b []byte, offset int64, c events.Change) []byte {
	b = binary.AppendUvarint(b, uint64(offset))
	b = appendText(b, c.Person)
	b = appendText(b, c.Flavor)
	return appendText(b, c.Previous)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func decodeChanges(blob []byte) ([]events.Change, error) {
	in := recordReader{rest: string(blob)}
	origin, err := events.ParseOrigin(in.text())
	if err != nil {
		return nil, err
	}
	var changes []events.Change
	for in.rest != "" && !in.broken {
		version := origin.At(int64(in.number()))
		person, flavor, previous := in.text(), in.text(), in.text()
		c, changed := events.NewChange(person, previous, flavor, version)
		if in.broken {
			break
		}
		if !changed || person == "" {
			return nil, fmt.Errorf("change %d is none", len(changes))
		}
		changes = append(changes, c)
	}
	if in.broken {
		return nil, errors.New("it is cut off")
	}
	return changes, nil
}

// recordReader cuts values off the front. The texts share the memory of the record.
type recordReader struct {
	rest   string
	broken bool
}

func (r *recordReader) number() uint64 {
	var n uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return n
		}
	}
	r.broken, r.rest = true, ""
	return 0
}

func (r *recordReader) text() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.broken, r.rest = true, ""
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
