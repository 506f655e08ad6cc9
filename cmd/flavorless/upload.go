package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

const uploadHelp = `Upload files, and follow each until it is live; then print what became of its rows.
Formats: CSV, TSV, JSON (an object or an array) and NDJSON, each plain, .gz or .zst. Try them first with: flavorless check

To a deployed stack it uploads with your AWS credentials; following takes a token of the stack's identity provider, too.
Without one the file is uploaded all the same.

Exit codes: 0 live, 3 live with rejected rows, 1 an upload failed, 2 a file or the server is not there.`

type uploadFlags struct {
	clientFlags
	key     string
	abort   bool
	detach  bool
	asJSON  bool
	timeout time.Duration
}

func newUpload(t *terminal) *cobra.Command {
	var f uploadFlags
	c := &cobra.Command{
		Use: "upload FILE…", Short: "Upload files, and follow each until it is live", Long: uploadHelp,
		Example: "  flavorless upload favorites.csv\n  flavorless upload --on-error-abort team.ndjson.gz\n  FLAVORLESS_TOKEN=… flavorless upload --stack flavorless-dev --profile work favorites.csv",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), t, args, c.Flags().Changed("data"))
		},
	}
	f.add(c)
	c.Flags().StringVar(&f.key, "key", "", "key to upload to, under uploads/ (for a single file; default: its name)")
	c.Flags().BoolVar(&f.abort, "on-error-abort", false, "all or nothing: apply no row if one is bad")
	c.Flags().BoolVar(&f.detach, "detach", false, "do not follow; the server goes on by itself")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print each upload's record as a line of JSON")
	c.Flags().DurationVar(&f.timeout, "timeout", 0, "stop following after this long, such as 10m (0: never); the server goes on")
	return c
}

func (f *uploadFlags) run(ctx context.Context, t *terminal, files []string, named bool) error {
	keys, err := f.keys(files)
	if err != nil {
		return err
	}
	conn, err := f.connect(ctx, named)
	if err != nil {
		return err
	}
	code := exitOK
	for i, file := range files {
		var e *exit
		err := f.upload(ctx, t, conn, file, keys[i])
		if errors.As(err, &e) && e.err == nil {
			code = worse(code, e.code)
		} else if err != nil {
			return err
		}
	}
	if code != exitOK {
		return &exit{code: code}
	}
	return nil
}

// upload uploads one file, follows it and prints its report. The error is a bare exit code if not all is well with it.
func (f *uploadFlags) upload(ctx context.Context, t *terminal, conn *connection, file, key string) error {
	follow := !f.detach && (conn.stack == nil || conn.token != "")
	var known map[string]bool
	if follow {
		var err error
		if known, err = conn.known(ctx, key); err != nil {
			return err
		}
	}
	etag, err := f.put(ctx, t, conn, file, key)
	if err != nil {
		return err
	}
	if !follow {
		if !f.asJSON {
			t.printf("%s is uploaded as %s\n", file, key)
		}
		if !f.detach {
			t.errorf("it can't be followed without a token; see what became of it with: FLAVORLESS_TOKEN=… flavorless uploads --stack %s", conn.stack.Name())
		}
		return nil
	}
	u, err := f.follow(ctx, t, conn, key, etag, known)
	if err != nil {
		return err
	}
	if f.asJSON {
		err = t.json(u)
	} else {
		t.report(u)
	}
	if code := exitCode(u); err == nil && code != exitOK {
		return &exit{code: code}
	}
	return err
}

const uploadsPrefix = "uploads/"

// keys gives each file its key, and makes sure that all can be uploaded before the first one is.
func (f *uploadFlags) keys(files []string) ([]string, error) {
	if f.key != "" && len(files) > 1 {
		return nil, usage("--key is for a single file, and there are %d", len(files))
	}
	seen := map[string]string{}
	keys := make([]string, len(files))
	for i, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, usage("%w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, usage("%s is not a file; name the files to upload", file)
		}
		name := filepath.Base(file)
		if f.key != "" {
			name = f.key
		}
		if _, err := ingest.FormatOf(name); err != nil {
			return nil, usage("%s: %w", file, err)
		}
		if other, twice := seen[name]; twice {
			return nil, usage("%s and %s have the same name; upload them one by one, or with --key", other, file)
		}
		seen[name] = file
		keys[i] = uploadsPrefix + name
	}
	return keys, nil
}

// known gives the ids of the uploads of a key so far, to tell the new one from them.
func (c *connection) known(ctx context.Context, key string) (map[string]bool, error) {
	uploads, err := c.recent(ctx, 500)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, u := range uploads {
		if u.Key == key {
			ids[u.ID] = true
		}
	}
	return ids, nil
}

// s3 is a client of the home's bucket.
func (c *connection) s3() *s3.Client {
	if c.stack != nil {
		return c.stack.S3()
	}
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(c.info.S3), Region: c.info.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(c.info.AccessKey, c.info.SecretKey, ""),
	})
}

// put uploads a file, in parts when it is large, and returns its ETag.
func (f *uploadFlags) put(ctx context.Context, t *terminal, conn *connection, file, key string) (etag string, err error) {
	in, err := os.Open(file)
	if err != nil {
		return "", usage("%w", err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", usage("%w", err)
	}
	bar := t.bar(info.Size(), file)
	defer bar.Finish() //nolint:errcheck // it is only a bar
	input := &transfermanager.UploadObjectInput{Bucket: aws.String(conn.info.Bucket), Key: aws.String(key), Body: in}
	if f.abort {
		input.Metadata = map[string]string{"on-error": "abort"}
	}
	out, err := transfermanager.New(conn.s3(), func(o *transfermanager.Options) {
		o.Concurrency = 2
		o.ObjectProgressListeners.Register(progress(func(n int64) { _ = bar.Set64(n) }))
	}).UploadObject(ctx, input)
	var refused *net.OpError
	switch {
	case errors.As(err, &refused) && ctx.Err() == nil:
		return "", conn.silent(cmp.Or(conn.info.S3, "S3"), refused)
	case err != nil:
		return "", fmt.Errorf("uploading %s: %w", file, err)
	}
	return unquote(aws.ToString(out.ETag)), nil
}

func unquote(etag string) string {
	if len(etag) >= 2 && etag[0] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}

// progress is a listener that is only told how many bytes have gone.
type progress func(n int64)

// OnObjectBytesTransferred implements transfermanager.ObjectBytesTransferredListener.
func (p progress) OnObjectBytesTransferred(_ context.Context, e *transfermanager.ObjectBytesTransferredEvent) {
	p(e.BytesTransferred)
}

// follow waits until the new upload of a key is settled.
func (f *uploadFlags) follow(ctx context.Context, t *terminal, conn *connection, key, etag string, known map[string]bool) (events.Upload, error) {
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("%s is not live after %s; the server goes on with it, see: flavorless uploads", key, f.timeout))
		defer cancel()
	}
	var u events.Upload
	pause := 20 * time.Millisecond
	var line statusLine
	defer line.clear(t)
	for {
		var err error
		if u.ID == "" {
			u.ID, err = conn.find(ctx, key, etag, known)
		}
		if u.ID != "" && err == nil {
			_, err = conn.get(ctx, "/uploads/"+u.ID, &u)
		}
		switch {
		case ctx.Err() != nil:
			return u, context.Cause(ctx)
		case err != nil:
			return u, err
		case u.Status.Settled():
			return u, nil
		}
		line.show(t, u)
		select {
		case <-ctx.Done():
			return u, context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(pause*3/2, time.Second)
	}
}

// find looks for an upload of the key that was not there before, and gives its id; none as long as there is none.
func (c *connection) find(ctx context.Context, key, etag string, known map[string]bool) (id string, err error) {
	uploads, err := c.recent(ctx, 500)
	for _, u := range uploads {
		if u.Key == key && u.ETag == etag && !known[u.ID] {
			return u.ID, err
		}
	}
	return "", err
}

// statusLine shows how far an upload is, where a person looks.
type statusLine struct{ shown bool }

func (l *statusLine) show(t *terminal, u events.Upload) {
	if u.ID == "" {
		return
	}
	text := fmt.Sprintf("%s: %d rows applied", u.Status, u.Counts.Applied+u.Counts.Superseded)
	if c := u.Counts; c.Batches > 0 {
		text += fmt.Sprintf(" of %d (%d%%)", c.Rows-c.Rejected, 100*c.BatchesApplied/c.Batches)
	}
	l.text(t, text)
}

func (l *statusLine) text(t *terminal, text string) {
	if t.progress {
		l.shown = true
		fmt.Fprintf(t.err, "\r\x1b[K%s", text)
	}
}

func (l *statusLine) clear(t *terminal) {
	if l.shown {
		io.WriteString(t.err, "\r\x1b[K") //nolint:errcheck // like any print to the terminal
	}
}
