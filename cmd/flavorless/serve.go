package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
)

const serveHelp = `Run the whole pipeline in the foreground: the bucket (S3 protocol), the topics and queues (NATS), the table, and the read
API. All that it keeps lies in one data folder; started again on it, it goes on where it was. It listens on this machine
only, unless told otherwise, and stops cleanly on SIGINT or SIGTERM.

Without --issuer, --audience and --jwks-uri the API takes tokens of a development issuer, whose key lies in the data folder
(flavorless token, flavorless env). With them it takes those of your identity provider, and no others.

Prometheus finds its metrics at /metrics of the read API's address as long as that is on the loopback interface, and else
only at an address of their own (--metrics): they need no token. GET /healthz of the read API tells how each part is.`

func newServe(t *terminal) *cobra.Command {
	var cfg local.Config
	var webhookFile string
	var verbose, logJSON bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the whole pipeline on this machine", Long: serveHelp,
		Example: "  flavorless serve\n  flavorless serve --data /var/lib/flavorless --api 127.0.0.1:8081\n  flavorless serve --issuer https://id.example.com/ --audience flavorless --jwks-uri https://id.example.com/jwks.json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Log = newLog(t, verbose, logJSON)
			if slices.Equal(cfg.Ignore, events.IgnoreList{""}) {
				cfg.Ignore = events.IgnoreList{}
			}
			run := func() (err error) {
				if cfg.Webhooks, err = webhooks(c.Context(), cfg.Log, cfg.Webhooks, webhookFile); err != nil {
					return err
				}
				return serve(c.Context(), t, cfg)
			}
			if !logJSON {
				return run()
			}
			// What else would be printed goes to the log, too, so that each line of it is JSON.
			restore, err := captureStderr(cfg.Log)
			if err != nil {
				return err
			}
			defer restore()
			return logged(cfg.Log, run())
		},
	}
	dataFlag(c, &cfg.Dir)
	flags := c.Flags()
	flags.StringVar(&cfg.API, "api", "127.0.0.1:8080", "address of the read API")
	flags.StringVar(&cfg.S3, "s3", "127.0.0.1:9000", "address of the bucket")
	flags.StringVar(&cfg.NATS, "nats", "127.0.0.1:4222", "address where subscribers get changes")
	flags.StringVar(&cfg.Metrics, "metrics", "", "address of the metrics, without a token (default that of the API, if on the loopback interface; else none)")
	flags.StringVar(&cfg.Issuer, "issuer", "", "accept tokens with this iss claim")
	flags.StringVar(&cfg.Audience, "audience", "", "and this aud claim")
	flags.StringVar(&cfg.JWKSURI, "jwks-uri", "", "signed by a key that is found there")
	flags.StringVar(&cfg.RequiredScope, "required-scope", "", "and with this scope")
	flags.StringArrayVar(&cfg.Origins, "cors-origin", nil,
		"let browser pages of this origin, such as http://localhost:5173, use the read API and the bucket (can be repeated; default none)")
	flags.DurationVar(&cfg.ReadFor, "read-for", local.DefaultReadFor, "read a file for so long at a time; a crash repeats so much")
	flags.StringArrayVar(&cfg.Webhooks, "webhook", nil,
		"deliver changes to this URL, signed (can be repeated; ps shows it to all users); see: flavorless webhook-secret --help")
	flags.StringVar(&webhookFile, "webhook-file", "",
		"deliver changes to the URLs in this file, one a line; # begins a comment line (default, without --webhook: the URLs in the environment variable FLAVORLESS_WEBHOOKS, separated by spaces)")
	flags.IntVar(&cfg.WebhookTries, "webhook-tries", local.DefaultWebhookTries, "deliveries to a webhook after which a change is one of its dead letters")
	flags.StringArrayVar((*[]string)(&cfg.Ignore), "ignore", events.DefaultIgnoreList(),
		"objects whose file name matches this pattern are no uploads (can be repeated; replaces the defaults; '' ignores none). Empty objects whose key ends in / never are")
	flags.BoolVar(&verbose, "verbose", false, "log every batch")
	flags.BoolVar(&logJSON, "log-json", false, "log as JSON, a line an entry")
	grouped(c, limitFlags(&cfg.Limits), retentionFlags(&cfg.Retention))
	return c
}

// memoryLimit makes garbage be collected earlier than at twice of what is alive once the heap and what else Go keeps reach
// it, in bytes: uploads come in bursts, and what the table's cache takes (in no heap of Go's) comes on top. It is soft.
const memoryLimit = 96 << 20

func serve(ctx context.Context, t *terminal, cfg local.Config) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	server, err := local.Start(ctx, cfg)
	if err != nil {
		return surroundings(err)
	}
	info := server.Info()
	metrics := info.Metrics
	if metrics == "" {
		metrics = "none (--metrics)"
	}
	t.printf("%s\n", t.style(green, "flavorless is ready"))
	t.table("  ", []column{{name: "upload to"}, {name: "s3://" + info.Bucket + "/" + uploadsPrefix}, {name: "at " + info.S3}}, [][]string{
		{"read from", info.API + "/team", ""},
		{"changes on", info.NATS, "flavorless.change.>"},
		{"metrics at", metrics, ""},
		{"data folder", cfg.Dir, ""},
	})
	data := ""
	if cfg.Dir != defaultData {
		data = " --data " + shellWord(cfg.Dir)
	}
	t.printf("\nIn another terminal:\n  flavorless upload%s favorites.csv\n  eval \"$(flavorless env%s)\"\n\nStop with Ctrl-C.\n", data, data)
	for {
		select {
		case <-ctx.Done():
			t.printf("stopping\n")
			return stop(ctx, server)
		case <-server.Failed():
		}
		if err = stop(ctx, server); !errors.Is(err, local.ErrBroken) {
			return err
		}
		if server, err = startAgain(ctx, cfg, info, err); err != nil {
			return err
		}
	}
}

// surroundings turns what only the user can mend into a line that says how.
func surroundings(err error) error {
	switch {
	case errors.Is(err, local.ErrInUse):
		return usage("%w; stop that one first, or choose another folder with --data", err)
	case errors.Is(err, syscall.EADDRINUSE):
		return usage("%w; stop what listens there, or choose another address with --api, --s3, --nats or --metrics (port 0: any free one)", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return usage("%w; choose a folder that can be written, with --data", err)
	case noSpace(err):
		return usage("%w; make room on the disk of --data", err)
	case errors.Is(err, local.ErrConfig), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, events.ErrUnavailable):
		return usage("%w", err)
	}
	return fmt.Errorf("starting: %w", err)
}

// noSpace tells whether an error says so, if in words alone: such are the queues' answers.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}
