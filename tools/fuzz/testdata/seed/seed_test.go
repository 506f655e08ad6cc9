package seed

import "testing"

func FuzzSeed(f *testing.F) {
	f.Add(1)
	f.Fuzz(func(t *testing.T, n int) {
		if n == 1 {
			t.Error("one is too many")
		}
	})
}
