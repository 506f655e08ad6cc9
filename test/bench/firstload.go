package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

// firstLoadRun matches the test of the load that is measured.
const firstLoadRun = "^TestFirstLoad$/^the_median_placement$"

// firstLoad runs the test that simulates a first load, because only a test has a virtual clock (testing/synctest).
// The test checks the promise.
func firstLoad(ctx context.Context, _ string, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("firstload", flag.ContinueOnError)
	rows := flags.Int("rows", 1_000_000, "`number` of rows; a million take minutes of CPU time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=1h", "-v", "-run", firstLoadRun,
		"./test/firstload",
		"-args", "-rows", strconv.Itoa(*rows))
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	line := firstLoadResult.Find(said)
	if line == nil {
		return errors.Join(fmt.Errorf("the simulation printed no result:\n%s", said), err)
	}
	fmt.Fprintf(out, "%s\n", line)
	return err
}

// firstLoadResult matches the line that the test logs.
var firstLoadResult = regexp.MustCompile(`\d+ rows, fullest partition .*`)
