package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/flavorless/flavorless/events"
)

// uploadIDs returns the ids of the recent uploads of a key. An upload with another id is new.
func (c *connection) uploadIDs(ctx context.Context, key string) (map[string]bool, error) {
	uploads, err := c.recent(ctx, maxRecent)
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

// follow waits until the new upload of a key is settled, and returns its record.
func (f *uploadFlags) follow(
	ctx context.Context, t *terminal, conn *connection, key, etag string, known map[string]bool,
) (events.Upload, error) {
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
			return u, f.unfollowed(ctx, conn, key, u.ID)
		case err != nil:
			return u, conn.lost(key, u.ID, err)
		case u.Status.Settled():
			return u, nil
		}
		line.show(t, u)
		select {
		case <-ctx.Done():
			return u, f.unfollowed(ctx, conn, key, u.ID)
		case <-time.After(pause):
		}
		pause = min(pause*3/2, time.Second)
	}
}

// errTimeout is the cause of a context that --timeout ended.
var errTimeout = errors.New("timeout")

// timedOut reports whether --timeout ended ctx.
func timedOut(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errTimeout) }

// unfollowed returns the error of an upload that was not followed to its end. It says how to see the upload's status.
func (f *uploadFlags) unfollowed(ctx context.Context, conn *connection, key, id string) error {
	see := conn.seeUpload(id)
	if timedOut(ctx) {
		err := fmt.Errorf("%s is not live after %s; the server continues to process it; to see its status: %s",
			displayName(key), f.timeout, see)
		return &fileError{code: exitFailed, pending: true, err: err}
	}
	return fmt.Errorf("stopped following %s; the server continues to process it; to see its status: %s",
		displayName(key), see)
}

// lost returns the error of an upload that could not be followed to its end because the API failed.
func (c *connection) lost(key, id string, err error) error {
	stored := displayName(key) + " is stored"
	if id != "" {
		stored += " as upload " + id
	}
	return &fileError{code: exitCode(err), pending: true, err: fmt.Errorf(
		"%s and will be processed, but following it failed: %w; to see its status later: %s",
		stored, err, c.seeUpload(id))}
}

// seeUpload returns the command that shows the status of an upload, or of all uploads if the id is empty.
func (c *connection) seeUpload(id string) string {
	return strings.TrimSpace("flavorless uploads "+id) + c.flags
}

// find returns the id of the upload of a key that is not among the known ones, or "" while there is none.
func (c *connection) find(ctx context.Context, key, etag string, known map[string]bool) (id string, err error) {
	uploads, err := c.recent(ctx, maxRecent)
	for _, u := range uploads {
		if u.Key == key && u.ETag == etag && !known[u.ID] {
			return u.ID, err
		}
	}
	return "", err
}

// statusLine is a line on a terminal that is overwritten to show progress.
type statusLine struct{ shown bool }

func (l *statusLine) show(t *terminal, u events.Upload) {
	if u.ID == "" {
		l.text(t, "waiting for the server to start reading the file")
		return
	}
	c := u.Counts
	text := fmt.Sprintf("%s: %s processed", u.Status, count(c.Applied+c.Unchanged+c.Superseded, "row"))
	if c.Batches > 0 {
		text += fmt.Sprintf(" of %s (%d%%)", number(c.Rows-c.Rejected), 100*c.BatchesApplied/c.Batches)
	}
	l.text(t, text)
}

func (l *statusLine) text(t *terminal, text string) {
	if t.progress {
		l.shown = true
		fmt.Fprintf(t.err, "\r\x1b[K%s", truncate(text, t.lineWidth()-1)) // a line that wraps can't be cleared
	}
}

func (l *statusLine) clear(t *terminal) {
	if l.shown {
		io.WriteString(t.err, "\r\x1b[K") //nolint:errcheck // like any print to the terminal
	}
}
