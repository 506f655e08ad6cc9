// Command fuzz runs the fuzz targets of packages, one after the other, each for a while. It finds the targets in the
// sources, so that none is forgotten. For each target that fails, it prints at the end which file has the failing
// input.
//
//	go run ./tools/fuzz -time 2m ./...
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func main() {
	var c config
	flag.StringVar(&c.time, "time", "2m", "`duration` of each target, or a number of inputs such as 1000x")
	flag.IntVar(&c.parallel, "parallel", 0, "`number` of processes for each target (default: the number of CPUs)")
	run := flag.String("run", "", "run only targets that match this `regexp`, such as events.FuzzCleanName")
	flag.BoolVar(&c.list, "list", false, "list the targets, and run none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if c.only, err = regexp.Compile(*run); err == nil {
		err = c.run(ctx, flag.Args(), os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

type config struct {
	time     string // a duration or a number of inputs, as for go test
	parallel int
	only     *regexp.Regexp
	list     bool
}

// target is a fuzz target.
type target struct {
	folder, pkg, name string // pkg is the import path
}

func (t target) String() string { return strings.TrimPrefix(t.pkg, module) + "." + t.name }

const module = "github.com/flavorless/flavorless/"

func (c config) run(ctx context.Context, patterns []string, out io.Writer) error {
	all, err := targets(ctx, patterns)
	if err != nil {
		return err
	}
	var chosen []target
	for _, t := range all {
		if c.only.MatchString(t.String()) {
			chosen = append(chosen, t)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no fuzz target of %s matches %q", strings.Join(patterns, " "), c.only)
	}
	var failed []error
	for i, t := range chosen {
		if c.list {
			fmt.Fprintln(out, t)
			continue
		}
		fmt.Fprintf(out, "%d/%d %s, %s\n", i+1, len(chosen), t, c.time)
		if err := c.fuzz(ctx, t, out); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// targets finds the fuzz targets in the test files of packages.
func targets(ctx context.Context, patterns []string) ([]target, error) {
	const form = `{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}}	{{$p.Dir}}	{{.}}{{"\n"}}{{end}}` +
		`{{range .XTestGoFiles}}{{$p.ImportPath}}	{{$p.Dir}}	{{.}}{{"\n"}}{{end}}`
	args := append([]string{"list", "-f", form, "--"}, patterns...)
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // developers name the patterns
	cmd.Stderr = os.Stderr
	listed, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", strings.Join(patterns, " "), err)
	}
	var found []target
	for line := range strings.Lines(string(listed)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 3 {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(f[1], f[2]), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && isTarget(fn) {
				found = append(found, target{folder: f[1], pkg: f[0], name: fn.Name.Name})
			}
		}
	}
	return found, nil
}

// isTarget reports whether go test takes a function for a fuzz target.
func isTarget(fn *ast.FuncDecl) bool {
	rest, ok := strings.CutPrefix(fn.Name.Name, "Fuzz")
	first, _ := utf8.DecodeRuneInString(rest)
	return ok && fn.Recv == nil && (rest == "" || !unicode.IsLower(first))
}

// kept matches what go test prints when it has written a failing input.
var kept = regexp.MustCompile(`Failing input written to (\S+)`)

// timeUp matches how go test before Go 1.27 may fail when the time is up, which is not a finding:
// https://go.dev/issue/75804
var timeUp = regexp.MustCompile(`--- FAIL: \S+ \(\S+\)\n\s+context deadline exceeded\nFAIL\n`)

// fuzz runs one target, beginning with the cached inputs of earlier runs.
func (c config) fuzz(ctx context.Context, t target, out io.Writer) error {
	args := []string{
		"test", "-run", "^$", "-fuzz", "^" + t.name + "$", "-fuzztime", c.time, "-fuzzminimizetime", "1s", "-timeout", "0",
	}
	if c.parallel > 0 {
		args = append(args, "-parallel", strconv.Itoa(c.parallel))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...) //nolint:gosec // made of names in the sources
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Dir = t.folder
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(out, &said), io.MultiWriter(out, &said)
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("stopped")
	}
	if m := kept.FindSubmatch(said.Bytes()); m != nil {
		return fmt.Errorf("%s fails with the input in %s; fix the code and commit that file or a better test",
			t, filepath.Join(t.folder, string(m[1])))
	}
	if timeUp.Match(said.Bytes()) {
		fmt.Fprintf(out, "%s: the time is up, and no input failed\n", t)
		return nil
	}
	return fmt.Errorf("%s fails with its seeds or does not build (%w); see the output above", t, err)
}
