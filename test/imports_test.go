package test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/flavorless/flavorless/"

// TestImports checks which packages may import which. Tests may import any package.
func TestImports(t *testing.T) {
	vendors := []string{
		"github.com/aws/", "github.com/nats-io/", "zombiezen.com/", "modernc.org/", "database/sql", "github.com/versity/",
		module + "internal/aws", module + "internal/embedded", module + "internal/local", module + "cmd",
	}
	core := []string{module + "ingest", module + "api", module + "internal/local"}
	rules := []struct {
		folder    string
		forbidden []string
		allowed   []string // if set, only these and the standard library are allowed
	}{
		{folder: "events", allowed: []string{
			"golang.org/x/text/", "github.com/go-json-experiment/json", module + "internal/swar",
		}},
		{folder: "ingest", forbidden: append([]string{module + "api"}, vendors...)},
		{folder: "api", forbidden: append([]string{module + "ingest"}, vendors...)},
		{folder: "internal/aws", forbidden: append([]string{module + "internal/embedded"}, core...)},
		{folder: "internal/embedded", forbidden: append([]string{module + "internal/aws"}, core...)},
		{folder: "internal/jwks", forbidden: vendors},
		{folder: "internal/issuer", forbidden: vendors},
		{folder: "internal/extsort", allowed: []string{module + "events"}},
		{folder: "internal/sortedcopy", allowed: []string{module + "events", "github.com/klauspost/compress/zstd"}},
	}
	for _, rule := range rules {
		t.Run(rule.folder, func(t *testing.T) {
			files := imports(t, filepath.Join("..", rule.folder))
			for file, paths := range files {
				for _, p := range paths {
					for _, bad := range rule.forbidden {
						if strings.HasPrefix(p, bad) {
							t.Errorf("%s imports %s", file, p)
						}
					}
					if rule.allowed != nil && isExternal(p) && !hasAnyPrefix(p, rule.allowed) {
						t.Errorf("%s imports %s; only %v are allowed", file, p, rule.allowed)
					}
				}
			}
			if len(files) == 0 {
				t.Fatalf("%s has no Go files", rule.folder)
			}
		})
	}
}

func isExternal(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// imports returns the imports of each file below a folder, without tests.
func imports(t *testing.T, folder string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		found[path] = nil
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			found[path] = append(found[path], p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
