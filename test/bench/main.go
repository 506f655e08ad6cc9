// Command bench measures flavorless beside bare references, in one run on one machine: the ratios are what counts.
//
//	go run ./test/bench           all of it
//	go run ./test/bench live      only upload to live
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
)

func main() {
	people := flag.Int("people", 1_000_000, "how many people the table is to hold")
	rounds := flag.Int("rounds", 3, "how often everything is measured; the median counts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Args(), *people, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, which []string, people, rounds int) error {
	all := len(which) == 0
	if all || slices.Contains(which, "live") {
		if err := live(ctx, people, rounds); err != nil {
			return err
		}
	}
	return nil
}

// ratio is one measurement of ours and of what it is held against, in the same unit.
type ratio struct{ ours, bare float64 }

func (r ratio) percent() float64 { return 100 * r.ours / r.bare }

func median(rs []ratio) float64 {
	percents := make([]float64, len(rs))
	for i, r := range rs {
		percents[i] = r.percent()
	}
	slices.Sort(percents)
	return percents[len(percents)/2]
}
