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

// rejectsPerTable is the number of rejected rows in one table. All rows of a report may not fit into memory, which the
// widths of one table's columns would require.
const rejectsPerTable = 1000

// showRejects prints the rejected rows in the report of an upload, as tables or as the report's lines of JSON. It
// prints to standard error how many rows the report omits.
func showRejects(ctx context.Context, t *terminal, conn *connection, id string, asJSON bool) error {
	u, err := conn.upload(ctx, id)
	if err != nil {
		return err
	}
	bucket, key, found := strings.Cut(strings.TrimPrefix(u.RejectsAt, "s3://"), "/")
	switch {
	case !u.Status.Settled() && !found:
		return fmt.Errorf("%s is still being read, so it has no report yet; try again when it is live", displayName(u.Key))
	case !found:
		t.errorf("no row of %s was rejected", displayName(u.Key))
		return nil
	}
	out, err := conn.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		return fmt.Errorf("reading %s: %w", u.RejectsAt, err)
	}
	defer out.Body.Close()
	show := t.rejectTables
	if asJSON {
		show = t.rejectLines
	}
	end, err := show(out.Body)
	if err != nil {
		return fmt.Errorf("reading %s: %w", u.RejectsAt, err)
	}
	if end.Truncated {
		t.errorf("%s not in the report, because it has reached its maximum length; "+
			"fix the rows above, and upload the file again",
			areMore(end.Omitted))
	}
	return nil
}

func areMore(rows int64) string {
	if rows == 1 {
		return "1 more rejected row is"
	}
	return number(rows) + " more rejected rows are"
}

// reportLine is a line of a report: a rejected row, or the end of a report that omits rows.
type reportLine struct {
	events.Reject
	events.ReportEnd
}

// rejectLines copies the lines of a report and returns its end.
func (t *terminal) rejectLines(report io.Reader) (events.ReportEnd, error) {
	in, last := bufio.NewReader(report), []byte("{}")
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			last = line
			if _, err := t.out.Write(line); err != nil {
				return events.ReportEnd{}, err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return events.ReportEnd{}, err
		}
	}
	var end reportLine
	err := json.Unmarshal(last, &end)
	return end.ReportEnd, err
}

// rejectTables prints the rows of a report and returns its end.
func (t *terminal) rejectTables(report io.Reader) (end events.ReportEnd, err error) {
	in := json.NewDecoder(bufio.NewReader(report))
	rejects := make([]events.Reject, 0, rejectsPerTable)
	for {
		var line reportLine
		err := in.Decode(&line)
		switch {
		case err != nil:
		case line.Truncated:
			end = line.ReportEnd
		default:
			rejects = append(rejects, line.Reject)
		}
		if err != nil || len(rejects) == rejectsPerTable {
			t.rejects(rejects)
			rejects = rejects[:0]
		}
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return end, err
		}
	}
}
