package testutil

import "testing"

// SkipUnderRace skips a test under the race detector. It is for tests that compute for long and are about no
// concurrency. `make test` runs every package that calls SkipUnderRace a second time, without the race detector.
func SkipUnderRace(t testing.TB) {
	t.Helper()
	if raceEnabled {
		t.Skip("computes for long under the race detector; make test runs it without")
	}
}

// SkipIfShort skips a test in short mode, which is for the loop while typing. `make test` runs every test.
func SkipIfShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long; make test runs it")
	}
}
