// Package found_test has a fault that fuzzing finds at once.
package found_test

import "testing"

func FuzzFound(f *testing.F) {
	f.Add("a")
	f.Fuzz(func(t *testing.T, s string) {
		if s != "a" {
			t.Errorf("%q is not a", s)
		}
	})
}
