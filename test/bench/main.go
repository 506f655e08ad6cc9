// Command bench measures flavorless against bare references. `go run ./test/bench -help` lists its parts; each has a
// file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
)

// benchmarks print a table each, and return an error if a figure misses its promise. Each one gets an empty folder.
var benchmarks = []struct {
	name  string
	about string
	run   benchmark
}{
	{"read", "reading, validating and packing rows, against bare parsers", read},
	{"live", "upload to live on one machine, against a bare SQLite upsert", live},
	{"export", "exports of everybody in random order: first load and 1 % changed, sorted and not", export},
	{"delay", "from the PUT of one row until it can be read, is live, and is announced", delay},
	{"load", "reads of the API per second, idle and while a million rows are applied, against a bare handler", readLoad},
	{"memory", "peak memory with large and hostile files", memory},
	{"coldstart", "start of each Lambda function to its first response, against a bare handler", coldstart},
	{"firstload", "a simulated first load of a new DynamoDB table, against the limit of its fullest partition", firstLoad},
	{"rows", "requests, units, cost and CPU of a million rows on AWS, against one conditional UpdateItem per row", rows},
}

type benchmark func(ctx context.Context, dir string, out io.Writer, args []string) error

// inFolder runs a benchmark in a temporary folder.
func (run benchmark) inFolder(ctx context.Context, args []string) error {
	dir, err := os.MkdirTemp("", "flavorless-bench-")
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, dir, os.Stdout, args), os.RemoveAll(dir))
}

const help = `usage: go run ./test/bench [part] [flags of the part]

Measures flavorless against bare references, in one run on one machine; the ratios count. Without a part, it runs all
parts, which takes about forty minutes, most of them for memory (-gb 100 makes that quick). The exit code is 1 if a
figure misses its promise. Tables go to standard output, progress to standard error.

`

func usage() {
	out := flag.CommandLine.Output()
	fmt.Fprint(out, help)
	for _, b := range benchmarks {
		fmt.Fprintf(out, "  %-10s %s\n", b.name, b.about)
	}
	fmt.Fprint(out, "\nbench PART -h lists the flags of a part, such as -rows and -repeat.\n")
}

// progress prints what is being measured.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+" …\n", args...)
}

func main() {
	flag.Usage = usage
	flag.Parse()
	children := map[string]func() error{fakeArgument: serveFake, bareArgument: serveBare}
	if serve := children[flag.Arg(0)]; serve != nil {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var errs []error
	known := flag.NArg() == 0
	for _, b := range benchmarks {
		if flag.NArg() > 0 && flag.Arg(0) != b.name {
			continue
		}
		known = true
		progress("%s: %s", b.name, b.about)
		errs = append(errs, b.run.inFolder(ctx, flag.Args()[min(1, flag.NArg()):]))
	}
	if !known {
		flag.Usage()
		os.Exit(2)
	}
	if err := errors.Join(errs...); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func median(s []float64) float64 {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}
