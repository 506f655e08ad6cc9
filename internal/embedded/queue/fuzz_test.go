package queue_test

import (
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// FuzzInflight checks that a file of the messages in flight, truncated or damaged, yields only whole records with
// subjects of acknowledgements, and that they can be stored and read again.
func FuzzInflight(f *testing.F) {
	f.Add([]byte("7 1 $JS.ACK.UPDATES.worker.1.7.9.1.0\n8 2 $JS.ACK.UPDATES.worker.1.8.10.1.0\n"))
	f.Add([]byte("7 1 $JS.ACK.UPDATES.worker.1.7.9.1.0\n8 2 $JS.ACK.UPDA"))
	f.Add([]byte("7 -1 $JS.ACK.x\n-7 1 $JS.ACK.x\n7 1 flavorless.change.v1\n\x00\x00\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		first := queue.ReadInflight(content)
		whole := strings.Count(string(content), "\n")
		if len(first) > whole {
			t.Errorf("%d records, want at most %d, one per whole line", len(first), whole)
		}
		for _, reply := range first {
			if !strings.HasPrefix(reply, "$JS.ACK.") || strings.ContainsFunc(reply, unicode.IsSpace) {
				t.Errorf("record with subject %q, want one that begins with $JS.ACK. and has no space", reply)
			}
		}
		file, err := queue.SaveInflight(dir, content)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, queue.ReadInflight(saved)); diff != "" {
			t.Errorf("records (-read +saved and read again):\n%s", diff)
		}
	})
}

// FuzzHeaderText checks that the reason of a dead letter is one line of UTF-8 of limited length.
func FuzzHeaderText(f *testing.F) {
	f.Add("reading: \xff\r\nNats-Rollup: all\x00")
	f.Add(strings.Repeat("é", 2000))
	f.Add("\xff 0")
	f.Add(strings.Repeat("x", 2047) + " x")
	f.Fuzz(func(t *testing.T, text string) {
		got := queue.HeaderText(text)
		if len(got) > 2048 || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n") || strings.TrimSpace(got) != got {
			t.Errorf("HeaderText(%q) = %q, want one line of valid UTF-8, at most 2048 bytes, without surrounding space",
				text, got)
		}
	})
}
