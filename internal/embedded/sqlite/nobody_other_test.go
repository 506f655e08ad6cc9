//go:build !linux

package sqlite_test

import (
	"os"
	"testing"
)

func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere, and here no thread can be anybody else")
	}
	do()
}
