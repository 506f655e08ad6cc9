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

// OutboxRecord holds the changes of one batch. Seq grows with time and is never reused.
type OutboxRecord struct {
	Seq     int64
	Changes []events.Change // at least one
}

// Pending returns up to limit records whose changes have not been announced, in the order in which they were stored.
func (db *DB) Pending(ctx context.Context, limit int) (pending []OutboxRecord, err error) {
	if limit <= 0 {
		return nil, nil
	}
	err = db.read(ctx, "reading the outbox", func(conn *sqlite.Conn) (err error) {
		pending, err = appendRows(pending, conn, func(stmt *sqlite.Stmt) (OutboxRecord, error) {
			seq := stmt.ColumnInt64(0)
			changes, err := decodeChanges(columnBlob(stmt, 1))
			if err != nil {
				err = fmt.Errorf("record %d: %w", seq, err)
			}
			return OutboxRecord{seq, changes}, err
		}, `SELECT seq, changes FROM outbox ORDER BY seq LIMIT ?`, limit)
		return err
	})
	return pending, err
}

// Backlog returns the number of records in the outbox, and the upload time of the file that the oldest one belongs to,
// or the zero time if there is none. It costs two look-ups for any number of records, because Seq has no gaps and
// records are only removed from the front.
func (db *DB) Backlog(ctx context.Context) (records int64, oldest time.Time, err error) {
	err = db.read(ctx, "reading the outbox", func(conn *sqlite.Conn) error {
		// An origin has less than 200 bytes.
		const query = `SELECT (SELECT max(seq) FROM outbox) - seq + 1, substr(changes, 1, 200)
			FROM outbox ORDER BY seq LIMIT 1`
		return sqlitex.Execute(conn, query, &sqlitex.ExecOptions{ResultFunc: func(stmt *sqlite.Stmt) error {
			in := recordReader{rest: string(columnBlob(stmt, 1))}
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

// Announced removes the records up to and including upTo. Call it after the changes topic has accepted their changes.
func (db *DB) Announced(ctx context.Context, upTo int64) error {
	return db.write(ctx, "removing announced changes", func(w *writer) error {
		return exec(w.conn, `DELETE FROM outbox WHERE seq <= ?`, upTo)
	})
}

// WaitPending returns when there are changes to announce, or ctx's error if ctx ends first.
func (db *DB) WaitPending(ctx context.Context) error {
	for {
		arrived := db.arrived.next() // before the query, so that no change is missed in between
		var pending bool
		err := db.read(ctx, "reading the outbox", func(conn *sqlite.Conn) (err error) {
			_, pending, err = queryInt(conn, `SELECT 1 FROM outbox LIMIT 1`)
			return err
		})
		if err != nil || pending {
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

// signal wakes all goroutines that wait for it.
type signal struct {
	mu sync.Mutex
	c  chan struct{} // closed by the next send; nil if next was not called since the last one
}

// next returns a channel that is closed by the next send.
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

// A record of the outbox is the origin of the batch, followed by its changes: the offset as a varint, then person,
// flavor and previous, each as a varint of its length and the text. A missing flavor is the empty text. The kind of the
// change follows from these. 1,700 changes need about 60 KB.

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
	for in.rest != "" && !in.truncated {
		version := origin.At(int64(in.number()))
		person, flavor, previous := in.text(), in.text(), in.text()
		c, changed := events.NewChange(person, previous, flavor, version)
		if in.truncated {
			break
		}
		if !changed || person == "" {
			return nil, fmt.Errorf("change %d changes nothing", len(changes))
		}
		changes = append(changes, c)
	}
	if in.truncated {
		return nil, errors.New("the record is truncated")
	}
	return changes, nil
}

// recordReader reads values from the front of a record. The texts share its memory.
type recordReader struct {
	rest      string
	truncated bool
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
	r.truncated, r.rest = true, ""
	return 0
}

func (r *recordReader) text() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.truncated, r.rest = true, ""
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
