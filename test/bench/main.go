// Command bench measures flavorless beside bare references, in one run on one machine: the ratios are what counts.
//
//	go run ./test/bench          all of it
//	go run ./test/bench read     reading, validating and packing rows, beside the bare parsers
//	go run ./test/bench live     upload to live, beside a bare SQLite upsert
//
// Each takes flags after its name, such as -rows and -repeat. A promise that is not kept makes the exit code 1.
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
	name string
	run  func(ctx context.Context, out io.Writer, args []string) error
}{
	{"read", read},
	{"live", live},
}

func main() {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: bench [read | live] [flags of that one; -h lists them]")
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var errs []error
	known := flag.NArg() == 0
	for _, b := range benchmarks {
		if flag.NArg() > 0 && flag.Arg(0) != b.name {
			continue
		}
		known = true
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
