package objectkey_test

import (
	"strings"
	"testing"

	"github.com/flavorless/flavorless/internal/objectkey"
)

func TestCheck(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	tests := []struct {
		name, key      string
		s3, text, path bool
	}{
		{"plain", "uploads/a.csv", true, true, true},
		{"folders", "uploads/2026/11/a.csv", true, true, true},
		{"spaces, umlauts, emoji", "uploads/ zoë 🍦 .csv", true, true, true},
		{"tab and line breaks", "uploads/a\tb\nc\r.csv", true, true, true},
		{"DEL and C1", "uploads/\x7f\u0085.csv", true, true, true},
		{"three dots", "uploads/...", true, true, true},
		{"folder marker", "uploads/a/", true, true, true},
		{"Latin-1", "uploads/caf\xe9.csv", false, false, true},
		{"half a surrogate", "uploads/\xed\xa0\x80.csv", false, false, true},
		{"NUL", "uploads/\x00.csv", false, false, true},
		{"U+0001", "uploads/\x01.csv", true, false, true},
		{"ESC", "uploads/\x1b[2J.csv", true, false, true},
		{"U+FFFE", "uploads/\ufffe.csv", false, false, true},
		{"longest", long(255) + "/" + long(255) + "/" + long(255) + "/" + long(256-1) + "/", true, true, true},
		{"too long", strings.Repeat("a/", 60) + strings.Repeat(long(200)+"/", 5), false, true, false},
		{"longest segment", "uploads/" + long(255), true, true, true},
		{"segment too long", "uploads/" + long(256), true, true, false},
		{"segment too long in bytes", "uploads/" + strings.Repeat("ü", 128), true, true, false},
		{"deepest", strings.Repeat("a/", 63) + "a", true, true, true},
		{"too deep", strings.Repeat("a/", 64) + "a", true, true, false},
		{"leading slash", "/a.csv", true, true, false},
		{"two slashes", "uploads//a.csv", true, true, false},
		{"two slashes at the end", "uploads/a.csv//", true, true, false},
		{"dot", "uploads/./a.csv", true, true, false},
		{"two dots", "uploads/../a.csv", true, true, false},
		{"two dots at the end", "uploads/a/..", true, true, false},
		{"above the bucket", "../a.csv", false, true, false},
		{"above the bucket in between", "uploads/../../a/b.csv", false, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := objectkey.CheckS3(test.key); (err == nil) != test.s3 {
				t.Errorf("CheckS3(%q) = %v, want success: %t", test.key, err, test.s3)
			}
			if err := objectkey.CheckText(test.key); (err == nil) != test.text {
				t.Errorf("CheckText(%q) = %v, want success: %t", test.key, err, test.text)
			}
			if err := objectkey.CheckPath(test.key); (err == nil) != test.path {
				t.Errorf("CheckPath(%q) = %v, want success: %t", test.key, err, test.path)
			}
		})
	}
}
