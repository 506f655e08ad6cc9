package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
)

const uploadHelp = `Upload files, follow each until it is live, and print the result for its rows. With more than
one file, print one line for each file without rejected rows, and a total at the end.
Formats: CSV, TSV, JSON (an object or an array) and NDJSON, each plain, .gz or .zst. To test
a file without uploading it, use: flavorless check

For a folder, upload all files in and below it whose names end in a suffix of these formats.
"-" is standard input; give it a name with --as or --key. Patterns such as "*.csv" are
expanded if your shell did not expand them.

The key of a file is uploads/ followed by its name, by its path below the folder, or by the
value of --key. All keys are checked before the first file is sent.

Uploading to a stack needs your AWS credentials. Following also needs a token of the stack's
identity provider; without a token, files are uploaded but not followed.

Ctrl-C while a file is being sent removes the parts that were sent. Ctrl-C while a file is
being followed only stops following: the server continues to process it.

Exit codes: 0 live, 1 an upload failed, 2 usage or environment error, 3 live with rejected rows.`

type uploadFlags struct {
	clientFlags
	key     string
	keySet  bool
	as      string
	reading readingFlags
	meta    map[string]string // object metadata, made from reading
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
			return f.run(c.Context(), t, args)
		},
	}
	f.add(c)
	wideFlag(c, t)
	c.Flags().StringVar(&f.key, "key", "",
		"upload a single file to this key; uploads/ is added if it is missing (default: the file's name)")
	c.Flags().StringVar(&f.as, "as", "", `give standard input this name, such as "team.ndjson.gz"`)
	f.reading.add(c)
	c.Flags().BoolVar(&f.reading.abort, "on-error-abort", false, "apply no row of a file if one of its rows is rejected")
	c.Flags().BoolVar(&f.detach, "detach", false, "do not follow uploads; the server processes them anyway")
	c.Flags().BoolVar(&f.asJSON, "json", false,
		"print each upload's record as one line of JSON; with --detach, the object's bucket, key and ETag")
	c.Flags().DurationVar(&f.timeout, "timeout", 0,
		"give up on a file after this long, such as 10m (0: never); the server still processes a file that was sent")
	return c
}

func (f *uploadFlags) run(ctx context.Context, t *terminal, args []string) error {
	if f.timeout < 0 {
		return usage("--timeout %s is negative; give a duration such as 10m, or 0 for no timeout", f.timeout)
	}
	var err error
	if f.meta, err = f.reading.metadata(); err != nil {
		return err
	}
	sources, skipped, err := f.sources(args)
	if err != nil {
		return err
	}
	conn, err := f.connect(ctx)
	if err != nil {
		return err
	}
	if err := checkIgnored(sources, conn); err != nil {
		return err
	}
	if len(skipped) > 0 {
		t.errorf("%s", skippedText(skipped))
	}
	sum := uploadSummary{files: len(sources)}
	for _, src := range sources {
		u, err := f.upload(ctx, t, conn, src, len(sources) > 1)
		var one *fileError
		if errors.As(err, &one) && len(sources) > 1 {
			t.errorf("%v", err)
		} else if err != nil {
			f.printTotal(t, &sum)
			return singleFileError(err)
		}
		sum.add(u, err)
	}
	f.printTotal(t, &sum)
	if !f.detach && !f.follows(conn) {
		t.errorf("following an upload needs a token of the stack's identity provider; to see the status: "+
			"FLAVORLESS_TOKEN=… flavorless uploads --stack %s", conn.stack.Name())
	}
	return exitWith(sum.code)
}

// singleFileError returns the error with the exit code that it has when it ends the program.
func singleFileError(err error) error {
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

// printTotal prints the total of several files.
func (f *uploadFlags) printTotal(t *terminal, sum *uploadSummary) {
	if sum.files > 1 && !f.asJSON {
		t.printf("%s\n", t.style(bold, sum.String()))
	}
}

// upload uploads one file, follows it, prints the result, and returns its record. If brief is set, the result of a file
// without rejected rows is one line. The record of an upload that is not followed is empty.
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
		known, err = conn.uploadIDs(ctx, src.key)
		switch {
		case timedOut(ctx):
			return u, &fileError{code: exitFailed, err: fmt.Errorf("uploading %s: the server did not answer within %s, "+
				"so nothing was sent", src, f.timeout)}
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
		t.printf("%s is uploaded as %s\n", src, displayName(src.key))
		return u, nil
	}
	u, err = f.follow(ctx, t, conn, src.key, etag, known)
	switch {
	case err != nil:
	case f.asJSON:
		err = t.json(u)
	case brief && uploadExitCode(u) == exitOK:
		t.brief(u)
	default:
		t.report(u, conn)
	}
	return u, err
}
