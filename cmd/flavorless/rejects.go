package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
)

// rejectsAtOnce is how many rejected rows make up one table, whose columns are as wide as they need: there may be more
// than fit into memory.
const rejectsAtOnce = 1000

// showRejects prints every rejected row of an upload: as tables, or as the lines of JSON that the report has.
func showRejects(ctx context.Context, t *terminal, conn *connection, id string, asJSON bool) error {
	u, err := conn.upload(ctx, id)
	if err != nil {
		return err
	}
	bucket, key, found := strings.Cut(strings.TrimPrefix(u.RejectsAt, "s3://"), "/")
	switch {
	case !u.Status.Settled() && !found:
		return fmt.Errorf("%s is still being read; its report comes when that is done", visible(u.Key))
	case !found:
		t.errorf("no row of %s was rejected", visible(u.Key))
		return nil
	}
	out, err := conn.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		return fmt.Errorf("reading %s: %w", u.RejectsAt, err)
	}
	defer out.Body.Close()
	if asJSON {
		_, err = io.Copy(t.out, out.Body)
	} else {
		err = t.rejectTables(out.Body)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", u.RejectsAt, err)
	}
	return nil
}

func (t *terminal) rejectTables(report io.Reader) error {
	in := json.NewDecoder(bufio.NewReader(report))
	rejects := make([]events.Reject, 0, rejectsAtOnce)
	for {
		var r events.Reject
		err := in.Decode(&r)
		if err == nil {
			rejects = append(rejects, r)
		}
		if err != nil || len(rejects) == rejectsAtOnce {
			t.rejects(rejects)
			rejects = rejects[:0]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
