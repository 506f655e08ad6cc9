package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
)

func newTeam(t *terminal) *cobra.Command {
	var f clientFlags
	var asJSON bool
	c := &cobra.Command{
		Use: "team", Short: "Show everyone's favorite flavor",
		Example: "  flavorless team\n  flavorless team --json | jq -r .andy\n" +
			"  FLAVORLESS_TOKEN=… flavorless team --stack flavorless-dev --profile work",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conn, err := f.connect(c.Context())
			if err != nil {
				return err
			}
			return team(c.Context(), t, conn, asJSON)
		},
	}
	f.add(c)
	wideFlag(c, t)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object that maps each person to a flavor")
	return c
}

// team prints the favorites page by page, because the team may not fit into memory.
func team(ctx context.Context, t *terminal, conn *connection, asJSON bool) error {
	first := true
	for route := "/team?limit=10000"; route != ""; {
		page := map[string]string{}
		next, err := conn.get(ctx, route, &page)
		if err != nil {
			return err
		}
		people := make([]string, 0, len(page))
		for person := range page {
			people = append(people, person)
		}
		slices.Sort(people)
		for _, person := range people {
			switch {
			case !asJSON:
				t.printPair(printable(person), printable(page[person]))
			case first:
				t.printf("{%s: %s", quoted(person), quoted(page[person]))
			default:
				t.printf(",\n %s: %s", quoted(person), quoted(page[person]))
			}
			first = false
		}
		route = next
	}
	switch {
	case asJSON && first:
		t.printf("{}\n")
	case asJSON:
		t.printf("}\n")
	case first:
		t.printf("no favorites yet; upload a file with: flavorless upload%s FILE\n", conn.flags)
	}
	return nil
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s) // can't happen: every string has a JSON form
	}
	return string(b)
}

var uploadsHelp = fmt.Sprintf(`Show the status of uploads, the newest first. With an ID, show one upload with the first
%d of its rejected rows; the first 8 characters of the ID are enough.

With --rejects, show the rejected rows in the upload's report. A report has at most 4 MiB, and
at most 20 bytes for each byte of the uploaded file. Rows beyond that are only counted.`, events.MaxRejects)

func newUploads(t *terminal) *cobra.Command {
	var f clientFlags
	var asJSON, rejects bool
	var limit int
	c := &cobra.Command{
		Use: "uploads [ID]", Short: "Show the status of uploads, or of one with its rejected rows", Long: uploadsHelp,
		Example: "  flavorless uploads\n  flavorless uploads 5v2kq0ad…\n" +
			"  flavorless uploads 5v2kq0ad… --rejects --json | jq -r '.raw // empty'\n" +
			"  FLAVORLESS_TOKEN=… flavorless uploads --stack flavorless-dev",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if limit < 1 || limit > maxRecent {
				return usage("--limit %d is out of range; give a number from 1 to %d", limit, maxRecent)
			}
			if rejects && len(args) == 0 {
				return usage("--rejects needs the ID of an upload: flavorless uploads ID --rejects%s", f.targetFlags())
			}
			conn, err := f.connect(c.Context())
			if err != nil {
				return err
			}
			if rejects {
				return showRejects(c.Context(), t, conn, args[0], asJSON)
			}
			if len(args) == 1 {
				return showUpload(c.Context(), t, conn, args[0], asJSON)
			}
			return listUploads(c.Context(), t, conn, limit, asJSON)
		},
	}
	f.add(c)
	wideFlag(c, t)
	c.Flags().BoolVar(&asJSON, "json", false,
		"print JSON: an array of uploads, the object of one, or with --rejects one line per row")
	c.Flags().BoolVar(&rejects, "rejects", false, "show the rejected rows in the report of the upload")
	c.Flags().IntVar(&limit, "limit", 20, "list at most this many uploads")
	return c
}

func showUpload(ctx context.Context, t *terminal, conn *connection, id string, asJSON bool) error {
	u, err := conn.upload(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return t.json(u)
	}
	t.report(u, conn)
	return nil
}

// maxRecent is the largest number of uploads that the API lists.
const maxRecent = 500

// shortID is the number of characters of an id that find an upload among the newest.
const shortID = 8

// upload returns the record of an upload. The id may be truncated, as in tables.
func (c *connection) upload(ctx context.Context, id string) (u events.Upload, err error) {
	if id = strings.TrimSuffix(id, "…"); !events.ValidUploadID(id) {
		if id, err = c.fullID(ctx, id); err != nil {
			return u, err
		}
	}
	_, err = c.get(ctx, "/uploads/"+url.PathEscape(id), &u)
	if errors.Is(err, errNotFound) {
		err = fmt.Errorf("there is no upload with the ID %q; to list uploads: %s", id, c.seeUpload(""))
	}
	return u, err
}

// fullID returns the id among the newest uploads that begins with start.
func (c *connection) fullID(ctx context.Context, start string) (found string, err error) {
	if len(start) < shortID {
		return "", fmt.Errorf("%q is too short for the ID of an upload; give at least %d characters; to list uploads: %s",
			start, shortID, c.seeUpload(""))
	}
	uploads, err := c.recent(ctx, maxRecent)
	if err != nil {
		return "", err
	}
	for _, u := range uploads {
		switch {
		case !strings.HasPrefix(u.ID, start):
		case found == "":
			found = u.ID
		default:
			return "", usage("the IDs of two uploads begin with %q; give more characters", start)
		}
	}
	if found == "" {
		return "", fmt.Errorf("none of the newest %d uploads has an ID that begins with %q; to list uploads: %s",
			maxRecent, start, c.seeUpload(""))
	}
	return found, nil
}

// recent returns the newest uploads.
func (c *connection) recent(ctx context.Context, limit int) ([]events.Upload, error) {
	var page struct {
		Uploads []events.Upload `json:"uploads"`
	}
	_, err := c.get(ctx, fmt.Sprintf("/uploads?limit=%d", limit), &page)
	return page.Uploads, err
}

func listUploads(ctx context.Context, t *terminal, conn *connection, limit int, asJSON bool) error {
	uploads, err := conn.recent(ctx, limit)
	if err != nil {
		return err
	}
	if asJSON {
		return t.json(uploads)
	}
	if len(uploads) == 0 {
		t.printf("no uploads yet; upload a file with: flavorless upload%s FILE\n", conn.flags)
		return nil
	}
	rows := make([][]string, 0, len(uploads))
	for _, u := range uploads {
		n := number
		failure := ""
		if u.Failure != nil {
			failure = string(u.Failure.Code)
		}
		read, rejected := n(u.Counts.Rows), n(u.Counts.Rejected)
		if u.Published.IsZero() { // they are counted when the whole file is read
			read, rejected = "-", "-"
		}
		rows = append(rows, []string{
			u.Uploaded.Local().Format(time.DateTime), string(u.Status), read, n(u.Counts.Applied),
			n(u.Counts.Unchanged), n(u.Counts.Superseded), rejected, u.ID, displayName(u.Key), failure,
		})
	}
	t.table("", []column{
		{name: "UPLOADED", dropOrder: 6}, {name: "STATUS"}, {name: "ROWS", dropOrder: 5}, {name: "APPLIED", dropOrder: 3},
		{name: "UNCHANGED", dropOrder: 2}, {name: "SUPERSEDED", dropOrder: 1}, {name: "REJECTED", dropOrder: 4},
		{name: "ID", minWidth: shortID + 1, shrinkFirst: true}, {name: "KEY", minWidth: 12}, {name: "FAILURE", minWidth: 6},
	}, rows)
	return nil
}
