package sqlite

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// selectTeam reads the people behind a name, in byte order. CROSS JOIN keeps favorites the outer table.
// https://www.sqlite.org/optoverview.html#crossjoin
const selectTeam = `SELECT person, flavor, o.origin, "offset" FROM favorites AS f CROSS JOIN origins AS o ON o.id = f.origin
	WHERE person > ? ORDER BY person LIMIT ?`

// Team lists up to limit favorites in the byte order of person, those behind after. Removed people are not among them.
func (db *DB) Team(ctx context.Context, after string, limit int) ([]events.Favorite, error) {
	if limit <= 0 {
		return nil, nil
	}
	team := make([]events.Favorite, 0, min(limit, 1024))
	err := db.read(ctx, "listing the team", func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, selectTeam,
			&sqlitex.ExecOptions{Args: []any{after, limit}, ResultFunc: func(stmt *sqlite.Stmt) error {
				team = append(team, scanFavorite(stmt))
				return nil
			}})
	})
	if err != nil {
		return nil, err
	}
	return team, nil
}

// Lookup gives a person's favorite: what the last Apply that has returned left, or a later one. An unknown or removed
// person is events.ErrNotFound.
func (db *DB) Lookup(ctx context.Context, person string) (events.Favorite, error) {
	var f events.Favorite
	err := db.read(ctx, "looking up a person", func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn,
			`SELECT person, flavor, o.origin, "offset" FROM favorites AS f CROSS JOIN origins AS o ON o.id = f.origin
			WHERE person = ?`,
			&sqlitex.ExecOptions{Args: []any{person}, ResultFunc: func(stmt *sqlite.Stmt) error {
				f = scanFavorite(stmt)
				return nil
			}})
	})
	if err != nil {
		return events.Favorite{}, err
	}
	if f.Person == "" {
		return events.Favorite{}, fmt.Errorf("person %q: %w", person, events.ErrNotFound)
	}
	return f, nil
}

func scanFavorite(stmt *sqlite.Stmt) events.Favorite {
	return events.Favorite{
		Person:  stmt.ColumnText(0),
		Flavor:  stmt.ColumnText(1),
		Version: events.Origin(stmt.ColumnText(2)).At(stmt.ColumnInt64(3)),
	}
}
