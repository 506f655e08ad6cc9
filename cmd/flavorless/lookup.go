package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
)

const lookupHelp = `Show one person's favorite flavor, and which file set it and when. The exit code is 1 if the
person has none. An upload that names the flavor that a person already has may leave it as it is;
see docs/files.md.`

func newLookup(t *terminal) *cobra.Command {
	var f clientFlags
	var asJSON bool
	c := &cobra.Command{
		Use: "lookup PERSON", Short: "Show one person's favorite flavor", Long: lookupHelp,
		Example: "  flavorless lookup andy\n  FLAVORLESS_TOKEN=… flavorless lookup andy --stack flavorless-dev",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			conn, err := f.connect(c.Context())
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
		Upload  string `json:"upload,omitempty"` // empty if the server is of an earlier release
	}
	_, err := conn.get(ctx, "/ice-cream/"+url.PathEscape(person), &favorite)
	if errors.Is(err, errNotFound) {
		return fmt.Errorf("%q has no favorite flavor; to see everyone's: flavorless team%s", person, conn.flags)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return t.json(favorite)
	}
	text := "since " + favorite.Updated
	if favorite.Upload != "" {
		text += ", set by " + conn.uploadName(ctx, favorite.Upload)
	}
	t.printf("%s  %s\n", printable(favorite.Flavor), t.style(dim, text))
	return nil
}

// uploadName returns the key and the id of an upload. It returns only the id if the upload's record is no longer kept,
// if the token may not read it, or if the API does not respond soon: the flavor itself has been read.
func (c *connection) uploadName(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var u events.Upload
	if _, err := c.get(ctx, "/uploads/"+url.PathEscape(id), &u); err != nil || u.Key == "" {
		return "upload " + id
	}
	return displayName(u.Key) + " (upload " + id + ")"
}
