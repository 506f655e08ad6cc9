package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// maxOrigins bounds the memory of origins: about 2 MB.
const maxOrigins = 1 << 13

// origins gives each origin a number, for the writer's use. It remembers those that it met.
type origins struct {
	conn    *sqlite.Conn
	numbers map[events.Origin]int64
	texts   map[int64]events.Origin
}

// number of an origin: a new one where it has none.
func (o *origins) number(origin events.Origin) (int64, error) {
	if n, ok := o.numbers[origin]; ok {
		return n, nil
	}
	var n int64
	err := sqlitex.Execute(o.conn,
		// An update that changes nothing, so that RETURNING gives the number of one that exists, too.
		`INSERT INTO origins (origin) VALUES (?) ON CONFLICT (origin) DO UPDATE SET origin = origin RETURNING id`,
		&sqlitex.ExecOptions{Args: []any{string(origin)}, ResultFunc: func(stmt *sqlite.Stmt) error {
			n = stmt.ColumnInt64(0)
			return nil
		}})
	if err != nil {
		return 0, fmt.Errorf("numbering origin %s: %w", origin, err)
	}
	o.remember(n, origin)
	return n, nil
}

// text of the origin with that number. It may be called while another statement runs on the connection.
func (o *origins) text(n int64) (events.Origin, error) {
	if t, ok := o.texts[n]; ok {
		return t, nil
	}
	var t events.Origin
	err := sqlitex.Execute(o.conn, `SELECT origin FROM origins WHERE id = ?`,
		&sqlitex.ExecOptions{Args: []any{n}, ResultFunc: func(stmt *sqlite.Stmt) error {
			t = events.Origin(stmt.ColumnText(0))
			return nil
		}})
	if err == nil && t == "" {
		err = errors.New("a row refers to it, but it is missing")
	}
	if err != nil {
		return "", fmt.Errorf("looking up origin %d: %w", n, err)
	}
	o.remember(n, t)
	return t, nil
}

func (o *origins) remember(n int64, origin events.Origin) {
	if o.texts == nil || len(o.texts) >= maxOrigins {
		o.numbers, o.texts = map[events.Origin]int64{}, map[int64]events.Origin{}
	}
	o.numbers[origin], o.texts[n] = n, origin
}

func (o *origins) forget() { o.numbers, o.texts = nil, nil }
