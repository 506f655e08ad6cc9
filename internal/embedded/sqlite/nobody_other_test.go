//go:build !linux

package sqlite_test

import (
	"os"
	"testing"
)

func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("permissions don't apply to root, and threads can't have another user on this system")
	}
	do()
}
