package quiet

import "testing"

func FuzzQuiet(f *testing.F) {
	f.Fuzz(func(*testing.T, []byte) {})
}

type helper struct{}

func (helper) FuzzMethod() {}

func Fuzzy() {} // no targets, though they are named much like one
