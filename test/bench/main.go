// Bench measures what the house promises about speed, side by side with the bare libraries that it stands on.
//
//	go run ./test/bench read
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

// benchmarks by name. Each prints a table, and returns an error when a promise is not kept.
var benchmarks = map[string]func(out io.Writer, args []string) error{
	"read": read,
}

func main() {
	flag.Usage = func() { fmt.Fprintln(flag.CommandLine.Output(), "usage: bench read [-rows N] [-repeat N]") }
	flag.Parse()
	run, ok := benchmarks[flag.Arg(0)]
	if !ok {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
