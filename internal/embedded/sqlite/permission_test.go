package sqlite_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/embedded/sqlite"
)

func TestOpenWithoutPermission(t *testing.T) {
	existing := sqliteFile(t, "PRAGMA user_version = 1")
	empty := t.TempDir()
	for _, err := range []error{os.Chmod(existing, 0o444), os.Chmod(empty, 0o555), os.Chmod(filepath.Dir(empty), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		existing: "not writable", filepath.Join(empty, "table.db"): "the folder is missing or not writable",
	} {
		asNobody(t, func() {
			if _, err := sqlite.Open(sqlite.Config{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Open(%s): %v, want an error with %q", path, err, want)
			}
		})
	}
}
