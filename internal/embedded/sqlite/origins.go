package sqlite

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// maxOrigins is the maximum number of origins in the cache, which need about 2 MB.
const maxOrigins = 1 << 13

// origins maps origins to their numbers and back. It caches them. Only the writer uses it.
type origins struct {
	conn    *sqlite.Conn
	numbers map[events.Origin]int64
	texts   map[int64]events.Origin
}

// number returns the number of an origin, which is added to the table if it is new.
func (o *origins) number(origin events.Origin) (int64, error) {
	if n, ok := o.numbers[origin]; ok {
		return n, nil
	}
	// The update changes nothing. It makes RETURNING return the number of an existing origin, too.
	n, _, err := queryInt(o.conn,
		`INSERT INTO origins (origin) VALUES (?) ON CONFLICT (origin) DO UPDATE SET origin = origin RETURNING id`,
		string(origin))
	if err != nil {
		return 0, fmt.Errorf("numbering origin %s: %w", origin, err)
	}
	o.cache(n, origin)
	return n, nil
}

// text returns the origin with that number. It may be called while another statement runs on the connection.
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
		err = errors.New("a row refers to it, but it does not exist")
	}
	if err != nil {
		return "", fmt.Errorf("looking up origin %d: %w", n, err)
	}
	o.cache(n, t)
	return t, nil
}

func (o *origins) cache(n int64, origin events.Origin) {
	if o.texts == nil || len(o.texts) >= maxOrigins {
		o.numbers, o.texts = map[events.Origin]int64{}, map[int64]events.Origin{}
	}
	o.numbers[origin], o.texts[n] = n, origin
}

// clear empties the cache.
func (o *origins) clear() { o.numbers, o.texts = nil, nil }
