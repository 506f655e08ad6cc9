package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

const checkHelp = `Read files exactly as an upload would be read, without a server. Show every row that would be
rejected, with its line, column, code, reason and fix. A file without rows is good, but check
warns you about it.

"-" is standard input. Its format is detected; to set it, give a file name with --as. --as
also reads one file as if it had another name.

Exit codes: 0 every row is good, 1 a file can't be read to its end, 2 usage or environment
error, 3 some rows are rejected.`

func newCheck(t *terminal) *cobra.Command {
	var asJSON bool
	var as string
	var reading readingFlags
	c := &cobra.Command{
		Use: "check FILE…", Short: "Read files as an upload would be read, without a server", Long: checkHelp,
		Example: "  flavorless check favorites.csv\n  zcat big.csv.gz | flavorless check - --as big.csv\n" +
			"  flavorless check export.txt --as export.tsv",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if as != "" && len(args) > 1 {
				return usage("--as names a single file, but you gave %d; check them one by one", len(args))
			}
			if first := slices.Index(args, "-"); first >= 0 && slices.Contains(args[first+1:], "-") {
				return usage("standard input is given twice; give it once")
			}
			options, err := reading.options()
			if err != nil {
				return err
			}
			code := exitOK
			for _, name := range args {
				result, err := check(c.Context(), t, name, as, options, asJSON)
				if err != nil {
					return err
				}
				code = worse(code, result)
			}
			return exitWith(code)
		},
	}
	reading.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for each rejected row, then one for the file")
	c.Flags().StringVar(&as, "as", "",
		`read the file as if it had this name, such as "team.ndjson.gz" (default: its own name; standard input is detected)`)
	return c
}

// checkResult is the result for one file, as --json prints it.
type checkResult struct {
	File     string          `json:"file"`
	Format   string          `json:"format,omitempty"`
	Rows     int64           `json:"rows"`
	Accepted int64           `json:"accepted"`
	Rejected int64           `json:"rejected"`
	Failure  *events.Failure `json:"failure,omitempty"`
	Warning  string          `json:"warning,omitempty"`
}

// emptyFileWarning warns about a file that can be read to its end, but has neither good nor bad rows.
const emptyFileWarning = "the file has no rows, so uploading it changes nothing"

func check(ctx context.Context, t *terminal, file, as string, o ingest.Options, asJSON bool) (int, error) {
	in, name, size, err := openInput(t.in, file, as)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	p := checkPrinter{terminal: t, file: file, asJSON: asJSON}
	if f, ok := in.(io.Seeker); ok { // ingest, too, looks for missing columns first, and reports nothing else then
		failure, err := ingest.CheckColumns(untilDone(ctx, in), name, o)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", displayName(file), err)
		}
		if failure != nil {
			return exitFailed, p.result(checkResult{File: file, Failure: failure})
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return 0, fmt.Errorf("reading %s: %w", displayName(file), err)
		}
	}
	bar := t.bar(size, printable(file))
	accept := func(events.Update) error { return nil }
	summary, err := ingest.Read(untilDone(ctx, io.TeeReader(in, bar)), name, o, accept, p.reject)
	_ = bar.Finish()
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", displayName(file), err)
	}
	r := checkResult{
		File: file, Format: summary.Format, Rows: summary.Rows, Accepted: summary.Rows - summary.Rejected,
		Rejected: summary.Rejected, Failure: summary.Failure,
	}
	if r.Rows == 0 && r.Failure == nil {
		r.Warning = emptyFileWarning
	}
	code := exitOK
	switch {
	case r.Failure != nil:
		code = exitFailed
	case r.Rejected > 0:
		code = exitRejected
	}
	return code, p.result(r)
}

// checkPrinter prints what check finds in one file.
type checkPrinter struct {
	*terminal
	file   string
	asJSON bool
	titled bool // whether the name of the file was printed
}

func (p *checkPrinter) title() {
	if !p.titled {
		p.titled = true
		p.printf("%s\n", p.style(bold, displayName(p.file)))
	}
}

func (p *checkPrinter) reject(r *events.Reject) error {
	if p.asJSON {
		return p.json(struct {
			File string `json:"file"`
			*events.Reject
		}{p.file, r})
	}
	p.title()
	p.printf("  line %d, column %d: %s: %s\n    %s\n",
		r.Line, r.Column, p.style(yellow, string(r.Code)), r.Reason, p.style(dim, printable(r.Raw)))
	return nil
}

func (p *checkPrinter) result(r checkResult) error {
	if p.asJSON {
		return p.json(r)
	}
	p.title()
	p.failure(r.Failure)
	verdict := "the file is " + p.style(green, "good")
	switch {
	case r.Failure != nil:
		verdict = p.style(red, "the file can't be read to its end")
	case r.Rejected > 0:
		verdict = p.style(yellow, "fix the rejected rows")
	}
	p.printf("  %s: %d accepted, %d rejected; %s\n", count(r.Rows, "row"), r.Accepted, r.Rejected, verdict)
	if r.Warning != "" {
		p.printf("  %s: %s\n", p.style(yellow, "warning"), r.Warning)
	}
	return nil
}

// openInput opens a file, or standard input. It also returns the name that determines the format, which a non-empty as
// replaces, and the size in bytes, or -1 if that is not known.
func openInput(stdin io.Reader, file, as string) (in io.ReadCloser, name string, size int64, err error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, "", 0, readError(err)
		}
		info, err := f.Stat()
		switch {
		case err != nil:
			err = readError(err)
		case info.IsDir():
			err = usage("%s is a folder; give the files in it instead", displayName(file))
		}
		if err != nil {
			return nil, "", 0, errors.Join(err, f.Close())
		}
		return f, cmp.Or(as, file), info.Size(), nil
	}
	buffered := bufio.NewReaderSize(stdin, 64<<10)
	if as == "" {
		as = detectName(buffered)
	}
	return io.NopCloser(buffered), as, -1, nil
}

// detectName returns a file name for standard input, with the format that its first bytes have.
func detectName(in *bufio.Reader) string {
	head, _ := in.Peek(in.Size()) // an error means that the input is shorter
	text := bytes.TrimLeft(ingest.ToUTF8(head), " \t\r\n")
	switch {
	case bytes.HasPrefix(text, []byte("\x1f\x8b")):
		return "stdin.csv.gz"
	case bytes.HasPrefix(text, []byte("\x28\xb5\x2f\xfd")):
		return "stdin.csv.zst"
	case bytes.HasPrefix(text, []byte("[")):
		return "stdin.json"
	case bytes.HasPrefix(text, []byte("{")) && ingest.LooksNDJSON(text):
		return "stdin.ndjson"
	case bytes.HasPrefix(text, []byte("{")):
		return "stdin.json"
	}
	return "stdin.csv"
}

// readerFunc is a function that implements io.Reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// untilDone returns a reader of r that fails when ctx ends.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}
