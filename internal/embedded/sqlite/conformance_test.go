package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/test/conformance"
)

func TestConformance(t *testing.T) {
	conformance.TestTable(t, func(t *testing.T) conformance.TableUnderTest {
		db := mustOpen(t, sqlite.Config{Relaxed: true}) // thousands of commits that need not survive a power cut
		return conformance.TableUnderTest{Store: db, Changes: func(ctx context.Context) ([]events.Change, error) {
			return drain(ctx, db)
		}}
	})
}

// mustOpen opens a table, in a new folder unless cfg has a path, and closes it when the test ends.
func mustOpen(t testing.TB, cfg sqlite.Config) *sqlite.DB {
	t.Helper()
	if cfg.Path == "" {
		cfg.Path = filepath.Join(t.TempDir(), "table.db")
	}
	db, err := sqlite.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// drain removes all changes from the outbox and returns them.
func drain(ctx context.Context, db *sqlite.DB) ([]events.Change, error) {
	var changes []events.Change
	for {
		pending, err := db.Pending(ctx, 3)
		if err != nil || len(pending) == 0 {
			return changes, err
		}
		for _, p := range pending {
			changes = append(changes, p.Changes...)
		}
		if err := db.Announced(ctx, pending[len(pending)-1].Seq); err != nil {
			return nil, err
		}
	}
}
