package sqlite_test

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// asNobody does something as a user for whom permissions count: for root they don't.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	const nobody = 65534
	runtime.LockOSThread() // whose files these are is a matter of the thread
	defer runtime.UnlockOSThread()
	was, err := unix.SetfsuidRetUid(nobody)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Setfsuid(was) //nolint:errcheck // checked when it is set
	do()
}
