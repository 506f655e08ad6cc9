// Command bench measures flavorless beside bare references: `go run ./test/bench -help` tells what. A file has a part.
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

// benchmarks print a table each, and return an error when a promise is not kept.
var benchmarks = []struct {
	name  string
	about string
	run   func(ctx context.Context, out io.Writer, args []string) error
}{
	{"read", "reading, validating and packing rows, beside the bare parsers", read},
	{"live", "upload to live on one machine, beside a bare SQLite upsert", live},
	{"delay", "from the PUT of one row until it is read, live, and told", delay},
	{"load", "readers of the API at the highest rate, idle and while a million rows are applied, beside a bare handler", readLoad},
	{"memory", "the peak of memory under large and hostile files", memory},
	{"coldstart", "each Lambda function's start to its first answer, beside a bare handler's", coldstart},
	{"firstload", "a simulated first load of a new DynamoDB table, beside the floor that its fullest partition sets", firstLoad},
	{"rows", "what a million rows ask of the services, what that costs, and the client's CPU beside a conditional UpdateItem a row", rows},
}

const help = `usage: go run ./test/bench [part] [flags of the part]

Measures flavorless beside bare references, in one run on one machine: the ratios are what counts. Without a part, all are
measured, which takes some forty minutes, most of them for memory (-gb 100 makes that quick). A promise that is not kept
makes the exit code 1. Tables go to standard output, progress to standard error.

`

func usage() {
	out := flag.CommandLine.Output()
	fmt.Fprint(out, help)
	for _, b := range benchmarks {
		fmt.Fprintf(out, "  %-10s %s\n", b.name, b.about)
	}
	fmt.Fprint(out, "\n`bench <part> -h` lists its flags, such as -rows and -repeat.\n")
}

// progress tells what takes so long.
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
		errs = append(errs, b.run(ctx, os.Stdout, flag.Args()[min(1, flag.NArg()):]))
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
