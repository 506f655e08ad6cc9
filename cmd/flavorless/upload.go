package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
)

const uploadHelp = `Upload files, and follow each until it is live; then print what became of its rows. With more than one file
it prints a line for each that is live with every row, and a total at the end.
Formats: CSV, TSV, JSON (an object or an array) and NDJSON, each plain, .gz or .zst. Try them first with: flavorless check

A folder stands for the files below it whose names end in one of these suffixes; their keys keep the path below the folder.
"-" is standard input; name it with --as or --key. Patterns such as "*.csv" are expanded if the shell has not done so.

The key of a file is uploads/ and its name, or what --key says. A key that the bucket could not keep is an error before
anything is sent.

To a deployed stack it uploads with your AWS credentials; following takes a token of the stack's identity provider, too.
Without one the file is uploaded all the same.

Ctrl-C while a file is being sent removes the parts that were sent. Ctrl-C while it is followed changes nothing: the server
goes on with it.

Exit codes: 0 live, 3 live with rejected rows, 1 an upload failed, 2 a file or the server is not there.`

type uploadFlags struct {
	clientFlags
	key     string
	keySet  bool
	as      string
	reading readingFlags
	meta    map[string]string // of the objects, by reading
	detach  bool
	asJSON  bool
	timeout time.Duration
}

func newUpload(t *terminal) *cobra.Command {
	var f uploadFlags
	c := &cobra.Command{
		Use: "upload FILE|FOLDER|-…", Short: "Upload files, and follow each until it is live", Long: uploadHelp,
		Example: "  flavorless upload favorites.csv\n  flavorless upload exports/\n" +
			"  zcat big.csv.gz | flavorless upload - --as big.csv\n" +
			"  flavorless upload --on-error-abort team.ndjson.gz\n" +
			"  FLAVORLESS_TOKEN=… flavorless upload --stack flavorless-dev --profile work favorites.csv",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.keySet = c.Flags().Changed("key")
			return f.run(c.Context(), t, args, c.Flags().Changed("data"))
		},
	}
	f.add(c)
	wideFlag(c, t)
	c.Flags().StringVar(&f.key, "key", "",
		"key to upload a single file to; uploads/ before it is added if it is missing (default: the file's name)")
	c.Flags().StringVar(&f.as, "as", "", `name of standard input, such as "team.ndjson.gz"`)
	f.reading.add(c)
	c.Flags().BoolVar(&f.reading.abort, "on-error-abort", false, "all or nothing: apply no row if one is bad")
	c.Flags().BoolVar(&f.detach, "detach", false, "do not follow; the server goes on by itself")
	c.Flags().BoolVar(&f.asJSON, "json", false,
		"print each upload's record as a line of JSON; with --detach, the object's bucket, key and ETag")
	c.Flags().DurationVar(&f.timeout, "timeout", 0,
		"give up on a file after this long, such as 10m (0: never); the server goes on with what was uploaded")
	return c
}

func (f *uploadFlags) run(ctx context.Context, t *terminal, args []string, named bool) error {
	if f.timeout < 0 {
		return usage("--timeout %s is negative; give a duration such as 10m, or 0 for none", f.timeout)
	}
	var err error
	if f.meta, err = f.reading.metadata(); err != nil {
		return err
	}
	sources, skipped, err := f.sources(args, named)
	if err != nil {
		return err
	}
	conn, err := f.connect(ctx, named)
	if err != nil {
		return err
	}
	if err := checkIgnored(sources, conn); err != nil {
		return err
	}
	if len(skipped) > 0 {
		t.errorf("%s", skippedText(skipped))
	}
	sum := tally{files: len(sources)}
	for _, src := range sources {
		u, err := f.upload(ctx, t, conn, src, len(sources) > 1)
		var one *fileError
		if errors.As(err, &one) && len(sources) > 1 {
			t.errorf("%v", err)
		} else if err != nil {
			f.total(t, &sum)
			return errorCode(err)
		}
		sum.add(u, err)
	}
	f.total(t, &sum)
	if !f.detach && !f.follows(conn) {
		t.errorf("an upload can't be followed without a token; see what became of it with: "+
			"FLAVORLESS_TOKEN=… flavorless uploads --stack %s", conn.stack.Name())
	}
	if sum.code != exitOK {
		return &exit{code: sum.code}
	}
	return nil
}

// errorCode returns the error with the exit code of a single file.
func errorCode(err error) error {
	var one *fileError
	if errors.As(err, &one) {
		return &exit{one.code, err}
	}
	return err
}

// follows reports whether uploads are followed.
func (f *uploadFlags) follows(conn *connection) bool {
	return !f.detach && (conn.stack == nil || conn.token != "")
}

// total prints what became of several files.
func (f *uploadFlags) total(t *terminal, sum *tally) {
	if sum.files > 1 && !f.asJSON {
		t.printf("%s\n", t.style(bold, sum.String()))
	}
}

// upload uploads one file, follows it, prints what became of it, and returns its record. In brief, that is one line if it is
// live with every row. The record of an upload that is not followed is empty.
func (f *uploadFlags) upload(
	ctx context.Context, t *terminal, conn *connection, src source, brief bool,
) (u events.Upload, err error) {
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, errTimeout)
		defer cancel()
	}
	follows := f.follows(conn)
	var known map[string]bool
	if follows {
		known, err = conn.known(ctx, src.key)
		switch {
		case timedOut(ctx):
			return u, &fileError{code: exitFailed, err: fmt.Errorf("%s is not uploaded: the server did not answer within %s", src, f.timeout)}
		case ctx.Err() != nil:
			return u, fmt.Errorf("stopped before %s was uploaded", src)
		case err != nil:
			return u, err
		}
	}
	etag, err := f.put(ctx, t, conn, src)
	if err != nil {
		return u, err
	}
	if !follows {
		if f.asJSON {
			return u, t.json(struct {
				Bucket string `json:"bucket"`
				Key    string `json:"key"`
				ETag   string `json:"etag"`
			}{conn.info.Bucket, src.key, etag})
		}
		t.printf("%s is uploaded as %s\n", src, shown(src.key))
		return u, nil
	}
	u, err = f.follow(ctx, t, conn, src.key, etag, known)
	switch {
	case err != nil:
	case f.asJSON:
		err = t.json(u)
	case brief && exitCode(u) == exitOK:
		t.brief(u)
	default:
		t.report(u)
	}
	return u, err
}
