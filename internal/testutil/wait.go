// Package testutil has what the tests of several packages need: waiting for a condition, building the program, and
// servers that emulate cloud services. It imports nothing of this module, so that every package can use it.
package testutil

import "time"

// Timeout is how long a test waits for something that has to happen. It is long because other processes may keep the
// machine busy; a test that passes does not depend on it.
const Timeout = 5 * time.Minute

// T is what [WaitFor] needs of a *testing.T, a *testing.B or a *rapid.T.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// WaitFor polls until done returns true, and fails the test if that takes longer than [Timeout]. It polls every few
// milliseconds but spends at most a fifth of its time in done.
func WaitFor(t T, what string, done func() bool) {
	t.Helper()
	pause := 5 * time.Millisecond
	for deadline := time.Now().Add(Timeout); ; time.Sleep(pause) {
		began := time.Now()
		if done() {
			return
		}
		pause = max(pause, 4*time.Since(began))
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", Timeout, what)
		}
	}
}
