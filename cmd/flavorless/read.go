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
		Example: "  flavorless team\n  flavorless team --json | jq -r .andy\n  FLAVORLESS_TOKEN=… flavorless team --stack flavorless-dev --profile work",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conn, err := f.connect(c.Context(), c.Flags().Changed("data"))
			if err != nil {
				return err
			}
			return team(c.Context(), t, conn, asJSON)
		},
	}
	f.add(c)
	wideFlag(c, t)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object of person to flavor")
	return c
}

// team prints page by page: the team may be larger than memory.
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
				t.pair(visible(person), visible(page[person]))
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
		t.printf("nobody yet; upload a file of favorites: flavorless upload FILE\n")
	}
	return nil
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s) // not for any string
	}
	return string(b)
}

func newLookup(t *terminal) *cobra.Command {
	var f clientFlags
	var asJSON bool
	c := &cobra.Command{
		Use: "lookup PERSON", Short: "Show one person's favorite flavor",
		Long:    "Show one person's favorite flavor. The exit code is 1 if there is no such person.",
		Example: "  flavorless lookup andy\n  FLAVORLESS_TOKEN=… flavorless lookup andy --stack flavorless-dev",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			conn, err := f.connect(c.Context(), c.Flags().Changed("data"))
			if err != nil {
				return err
			}
			return lookup(c.Context(), t, conn, args[0], asJSON)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON object")
	return c
}

func lookup(ctx context.Context, t *terminal, conn *connection, person string, asJSON bool) error {
	var favorite struct {
		Person  string `json:"person"`
		Flavor  string `json:"flavor"`
		Updated string `json:"updated"`
	}
	_, err := conn.get(ctx, "/ice-cream/"+url.PathEscape(person), &favorite)
	if errors.Is(err, errNotFound) {
		return fmt.Errorf("nobody called %q has a favorite flavor here", person)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return t.json(favorite)
	}
	t.printf("%s  %s\n", visible(favorite.Flavor), t.style(dim, "since "+favorite.Updated))
	return nil
}

func newUploads(t *terminal) *cobra.Command {
	var f clientFlags
	var asJSON, rejects bool
	var limit int
	c := &cobra.Command{
		Use: "uploads [ID]", Short: "Show what became of uploads, the newest first, or of one with its rejected rows",
		Long: "Show what became of uploads, the newest first, or of one, with the first " + strconv.Itoa(events.MaxRejects) + " of its rejected rows. With --rejects it shows\n" +
			"the rows of its report in the reports bucket: all that were rejected, or the first ones if the report has reached its\n" +
			"maximum length of 4 MiB and 20 bytes for each byte of the uploaded file.",
		Example: "  flavorless uploads\n  flavorless uploads 5v2kq0…\n  flavorless uploads 5v2kq0… --rejects --json | jq -r '.raw // empty'\n  FLAVORLESS_TOKEN=… flavorless uploads --stack flavorless-dev",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if limit < 1 || limit > 500 {
				return usage("--limit is %d; it can be 1 to 500", limit)
			}
			if rejects && len(args) == 0 {
				return usage("--rejects is of one upload; say which: flavorless uploads ID --rejects")
			}
			conn, err := f.connect(c.Context(), c.Flags().Changed("data"))
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
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: an array, one object for an ID, or a line for each rejected row")
	c.Flags().BoolVar(&rejects, "rejects", false, "show the rejected rows in the report of the upload ID")
	c.Flags().IntVar(&limit, "limit", 20, "how many uploads to list")
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
	t.report(u)
	return nil
}

// shortID is how many characters of an id are enough to find an upload among the newest.
const shortID = 8

// upload returns what became of one upload. The id may be cut, as tables show it.
func (c *connection) upload(ctx context.Context, id string) (u events.Upload, err error) {
	if id = strings.TrimSuffix(id, "…"); len(id) >= shortID && !events.ValidUploadID(id) {
		if id, err = c.fullID(ctx, id); err != nil {
			return u, err
		}
	}
	_, err = c.get(ctx, "/uploads/"+url.PathEscape(id), &u)
	if errors.Is(err, errNotFound) {
		err = fmt.Errorf("there is no upload %q; see: flavorless uploads", id)
	}
	return u, err
}

// fullID returns the id that begins with start among the newest uploads, and start itself if there is none.
func (c *connection) fullID(ctx context.Context, start string) (string, error) {
	uploads, err := c.recent(ctx, 500)
	found := start
	for _, u := range uploads {
		switch {
		case !strings.HasPrefix(u.ID, start):
		case found == start:
			found = u.ID
		default:
			return "", usage("the ids of two uploads begin with %q; give more characters of the id", start)
		}
	}
	return found, err
}

// recent gives the newest uploads.
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
		t.printf("no uploads yet; make one: flavorless upload FILE\n")
		return nil
	}
	rows := make([][]string, 0, len(uploads))
	for _, u := range uploads {
		n := func(i int64) string { return strconv.FormatInt(i, 10) }
		why := ""
		if u.Failure != nil {
			why = string(u.Failure.Code)
		}
		rows = append(rows, []string{u.Uploaded.Local().Format(time.DateTime), string(u.Status), n(u.Counts.Rows), n(u.Counts.Applied),
			n(u.Counts.Superseded), n(u.Counts.Rejected), u.ID, shown(u.Key), why})
	}
	t.table("", []column{
		{name: "UPLOADED", drop: 5}, {name: "STATUS"}, {name: "ROWS", drop: 4}, {name: "APPLIED", drop: 2}, {name: "SUPERSEDED", drop: 1},
		{name: "REJECTED", drop: 3}, {name: "ID", min: shortID + 1, soon: true}, {name: "KEY", min: 12}, {name: "WHY", min: 6},
	}, rows)
	return nil
}
