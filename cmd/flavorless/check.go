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

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

const checkHelp = `Read files exactly as an upload would be read, without any server, and show every row that would be rejected: its line,
column and code, why, and how to mend it. "-" is standard input; say with --as what it is. --as also reads one file as if
it had another name. A file without rows is good, but check warns you.

Exit codes: 0 every row is good, 3 some rows are rejected, 1 a file can't be read to its end, 2 there is no such file.`

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
				return usage("--as names the format of one file, and you gave %d files; check them one by one", len(args))
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
			if code != exitOK {
				return &exit{code: code}
			}
			return nil
		},
	}
	reading.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per rejected row, then one per file")
	c.Flags().StringVar(&as, "as", "",
		`read FILE as if it had this name, such as "team.ndjson.gz" (default: its own name; for standard input, by its first bytes)`)
	return c
}

// checked is the result for one file, as --json prints it.
type checked struct {
	File     string          `json:"file"`
	Format   string          `json:"format,omitempty"`
	Rows     int64           `json:"rows"`
	Accepted int64           `json:"accepted"`
	Rejected int64           `json:"rejected"`
	Failure  *events.Failure `json:"failure,omitempty"`
	Warning  string          `json:"warning,omitempty"`
}

// noRows is the warning about a file that can be read to its end and has nothing in it to apply or to reject.
const noRows = "the file has no rows, so an upload of it changes nothing"

func check(ctx context.Context, t *terminal, file, as string, o ingest.Options, asJSON bool) (int, error) {
	in, name, size, err := openInput(t.in, file, as)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if f, ok := in.(io.Seeker); ok { // as an upload is read, so that a name that never occurs is the only fault that is told
		failure, err := ingest.CheckColumns(&cancelable{ctx, in}, name, o)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", shown(file), err)
		}
		if failure != nil {
			return exitFailed, t.result(checked{File: file, Failure: failure}, asJSON, false)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return 0, fmt.Errorf("reading %s: %w", shown(file), err)
		}
	}
	bar := t.bar(size, visible(file))
	var header bool
	reading, err := ingest.Read(&cancelable{ctx, io.TeeReader(in, bar)}, name, o, func(events.Update) error { return nil }, func(r *events.Reject) error {
		if asJSON {
			return t.json(struct {
				File string `json:"file"`
				*events.Reject
			}{file, r})
		}
		if !header {
			header = true
			t.printf("%s\n", t.style(bold, shown(file)))
		}
		t.printf("  line %d, column %d: %s: %s\n    %s\n", r.Line, r.Column, t.style(yellow, string(r.Code)), r.Reason, t.style(dim, visible(r.Raw)))
		return nil
	})
	_ = bar.Finish()
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", shown(file), err)
	}
	result := checked{file, reading.Format, reading.Rows, reading.Rows - reading.Rejected, reading.Rejected, reading.Failure, ""}
	if reading.Rows == 0 && reading.Failure == nil {
		result.Warning = noRows
	}
	err = t.result(result, asJSON, header)
	switch {
	case reading.Failure != nil:
		return exitFailed, err
	case reading.Rejected > 0:
		return exitRejected, err
	}
	return exitOK, err
}

// result prints the result for one file, below its name, which header says was printed before.
func (t *terminal) result(c checked, asJSON, header bool) error {
	if asJSON {
		return t.json(c)
	}
	t.checked(c, header)
	return nil
}

func (t *terminal) checked(c checked, header bool) {
	if !header {
		t.printf("%s\n", t.style(bold, shown(c.File)))
	}
	if f := c.Failure; f != nil {
		place := ""
		if f.Line > 0 {
			place = fmt.Sprintf("line %d, column %d: ", f.Line, f.Column)
		}
		t.printf("  %s%s: %s\n", place, t.style(red, string(f.Code)), visible(f.Reason))
	}
	verdict := t.style(green, "good")
	switch {
	case c.Failure != nil:
		verdict = t.style(red, "can't be read to its end")
	case c.Rejected > 0:
		verdict = t.style(yellow, "has rows to mend")
	}
	t.printf("  %s: %d accepted, %d rejected; the file %s\n", count(c.Rows, "row"), c.Accepted, c.Rejected, map[bool]string{true: "is " + verdict, false: verdict}[c.Failure == nil && c.Rejected == 0])
	if c.Warning != "" {
		t.printf("  %s: %s\n", t.style(yellow, "warning"), c.Warning)
	}
}

// openInput opens a file, or standard input, and returns the name that tells its format: as, if that is not empty.
func openInput(stdin io.Reader, file, as string) (in io.ReadCloser, name string, size int64, err error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, "", 0, usage("%w", err)
		}
		info, err := f.Stat()
		if err == nil && info.IsDir() {
			err = fmt.Errorf("%s is a folder; name the files in it", shown(file))
		}
		if err != nil {
			return nil, "", 0, usage("%w", errors.Join(err, f.Close()))
		}
		return f, cmp.Or(as, file), info.Size(), nil
	}
	buffered := bufio.NewReaderSize(stdin, 64<<10)
	if as == "" {
		as = guess(buffered)
	}
	return io.NopCloser(buffered), as, -1, nil
}

// guess names standard input by how it begins.
func guess(in *bufio.Reader) string {
	head, _ := in.Peek(in.Size()) // less is fine, too
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

// cancelable ends reading when the program is told to stop.
type cancelable struct {
	ctx context.Context //nolint:containedctx // of the one reading that it is for
	r   io.Reader
}

func (c *cancelable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
