package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// FuzzMark checks that with any content of the mark after a crash, the next stamps increase, are later than the newest
// object, and are close to the current time.
func FuzzMark(f *testing.F) {
	now := time.Date(2026, 11, 23, 8, 19, 0, 0, time.UTC)
	for _, mark := range []string{"", "\x00\x00\x00", fmt.Sprintf("%016x", now.UnixNano()),
		fmt.Sprintf("%016x", now.UnixNano())[:7], "7fffffffffffffff", "-1", "ffffffffffffffff", "18a\n"} {
		f.Add([]byte(mark))
	}
	dir := f.TempDir()
	mark, name := filepath.Join(dir, "mark"), filepath.Join(dir, "object")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(mark, content, 0o600); err != nil {
			t.Fatal(err)
		}
		newest := now.Add(time.Second)
		first, second, err := gateway.Stamps(mark, name, func() time.Time { return now }, newest.UnixNano())
		if err != nil {
			t.Fatalf("opening a clock with the mark %q: %v", content, err)
		}
		if !second.After(first) {
			t.Errorf("mark %q: stamps %s and %s, want the second one later", content, first, second)
		}
		var at int64
		if n, err := fmt.Sscanf(string(content), "%016x", &at); n == 1 && err == nil && len(content) == 16 &&
			fmt.Sprintf("%016x", at) == string(content) {
			if plausible := time.Unix(0, at); plausible.Year() < 2200 && !first.After(plausible) && at > 0 {
				t.Errorf("mark %q: stamp = %s, want it later than the mark", content, first)
			}
			return
		}
		if !first.After(newest) || first.After(newest.Add(time.Minute)) {
			t.Errorf("invalid mark %q: stamp = %s, want up to a minute after the newest object (%s)", content, first, newest)
		}
	})
}
