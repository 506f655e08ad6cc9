package sqlite

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/flavorless/flavorless/events"
)

// selectFavorites uses CROSS JOIN to keep favorites the outer table. https://www.sqlite.org/optoverview.html#crossjoin
const (
	selectFavorites = `SELECT person, flavor, o.origin, "offset"
		FROM favorites AS f CROSS JOIN origins AS o ON o.id = f.origin`
	selectTeam   = selectFavorites + ` WHERE person > ? ORDER BY person LIMIT ?`
	selectPerson = selectFavorites + ` WHERE person = ?`
)

// Team returns up to limit favorites of people after the given name, in the byte order of their names. Removed people
// are not included.
func (db *DB) Team(ctx context.Context, after string, limit int) (team []events.Favorite, err error) {
	if limit <= 0 {
		return nil, nil
	}
	err = db.read(ctx, "listing the team", func(conn *sqlite.Conn) (err error) {
		empty := make([]events.Favorite, 0, min(limit, 1024))
		team, err = appendRows(empty, conn, scanFavorite, selectTeam, after, limit)
		return err
	})
	return team, err
}

// Lookup returns a person's favorite, as of the last Apply that has returned or later. The error is events.ErrNotFound
// if the person is unknown or removed.
func (db *DB) Lookup(ctx context.Context, person string) (events.Favorite, error) {
	var found []events.Favorite
	err := db.read(ctx, "looking up a person", func(conn *sqlite.Conn) (err error) {
		found, err = appendRows(found, conn, scanFavorite, selectPerson, person)
		return err
	})
	if err != nil {
		return events.Favorite{}, err
	}
	if len(found) == 0 {
		return events.Favorite{}, fmt.Errorf("person %q: %w", person, events.ErrNotFound)
	}
	return found[0], nil
}

func scanFavorite(stmt *sqlite.Stmt) (events.Favorite, error) {
	return events.Favorite{
		Person:  stmt.ColumnText(0),
		Flavor:  stmt.ColumnText(1),
		Version: events.Origin(stmt.ColumnText(2)).At(stmt.ColumnInt64(3)),
	}, nil
}
