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

const serveHelp = `Run the whole pipeline in the foreground: the bucket (S3 protocol), the topics and
queues (NATS), the table and the read API. All data is in one folder; when you start
the server again on that folder, it continues where it stopped. It listens on this
machine only, unless you set other addresses. SIGINT and SIGTERM stop it cleanly.

Without --issuer, --audience and --jwks-uri, the API accepts tokens of a development
issuer, whose key is in the data folder; print one with flavorless token or flavorless
env. With these three flags, the API accepts only tokens of your identity provider.

Metrics for Prometheus need no token. They are at /metrics of the read API if it
listens on the loopback interface; otherwise set an address for them with --metrics.
GET /healthz of the read API reports the health of each part.`

func newServe(t *terminal) *cobra.Command {
	cfg := local.Defaults()
	var webhookFile string
	var verbose, logJSON bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the whole pipeline on this machine", Long: serveHelp,
		Example: "  flavorless serve\n  flavorless serve --data /var/lib/flavorless --api 127.0.0.1:8081\n" +
			"  flavorless serve --issuer https://id.example.com/ --audience flavorless \\\n" +
			"    --jwks-uri https://id.example.com/jwks.json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Log = newLog(t, verbose, logJSON)
			if slices.Equal(cfg.Ignore, events.IgnoreList{""}) {
				cfg.Ignore = events.IgnoreList{}
			}
			refuseZeros(&cfg)
			run := func() (err error) {
				if cfg.Webhooks, err = webhooks(c.Context(), cfg.Log, cfg.Webhooks, webhookFile); err != nil {
					return err
				}
				return serve(c.Context(), t, cfg)
			}
			if !logJSON {
				return run()
			}
			// Everything that would be printed to standard error is logged instead, so that each line of it is JSON.
			restore, err := captureStderr(cfg.Log)
			if err != nil {
				return err
			}
			defer restore()
			return logError(cfg.Log, run())
		},
	}
	dirFlag(c, &cfg.Dir)
	flags := c.Flags()
	flags.StringVar(&cfg.API, "api", "127.0.0.1:8080", "serve the read API on this address")
	flags.StringVar(&cfg.S3, "s3", "127.0.0.1:9000", "serve the bucket on this address")
	flags.StringVar(&cfg.NATS, "nats", "127.0.0.1:4222", "serve changes to subscribers on this address")
	flags.StringVar(&cfg.Metrics, "metrics", "",
		"serve metrics on this address, without a token (default: the API's address if it is a loopback address)")
	flags.StringVar(&cfg.Issuer, "issuer", "", "accept only tokens with this iss claim")
	flags.StringVar(&cfg.Audience, "audience", "", "accept only tokens with this aud claim")
	flags.StringVar(&cfg.JWKSURI, "jwks-uri", "", "accept only tokens signed by a key in the JSON Web Key Set at this URL")
	flags.StringVar(&cfg.RequiredScope, "required-scope", "", "accept only tokens with this scope")
	flags.StringArrayVar(&cfg.Origins, "cors-origin", nil,
		"allow browser pages of this origin, such as http://localhost:5173, to use the read API and the bucket (repeatable)")
	flags.DurationVar(&cfg.ReadFor, "read-for", cfg.ReadFor,
		"save the position in a large file each time it was read for this long; a crash repeats at most this much reading")
	flags.Var((*size)(&cfg.SortFrom), "sort-from",
		"sort files of at least this stored size, and write only the rows that change a flavor; 0: sort no file")
	flags.StringArrayVar(&cfg.Webhooks, "webhook", nil,
		"deliver signed changes to this URL (repeatable); ps shows it to all users; see: flavorless webhook-secret --help")
	flags.StringVar(&webhookFile, "webhook-file", "",
		"deliver signed changes to the URLs in this file, one per line; lines that begin with # are comments (default: "+
			"unless you give --webhook, the URLs in FLAVORLESS_WEBHOOKS, separated by spaces)")
	flags.IntVar(&cfg.WebhookTries, "webhook-tries", cfg.WebhookTries,
		"move a change to the webhook's dead-letter queue after this many failed deliveries")
	flags.StringArrayVar((*[]string)(&cfg.Ignore), "ignore", cfg.Ignore,
		"ignore objects whose file name matches this pattern (repeatable; replaces the defaults; '' ignores none); "+
			"empty objects whose key ends in / are always ignored")
	flags.BoolVar(&verbose, "verbose", false, "log every batch")
	flags.BoolVar(&logJSON, "log-json", false, "log one JSON object per line")
	grouped(c, limitFlags(&cfg.Limits), retentionFlags(&cfg.Retention))
	return c
}

// memoryLimit is the soft limit of the Go runtime, in bytes. Near it, the garbage collector runs more often than it
// would by default. Uploads come in bursts, and the table's cache, which is not in the Go heap, needs memory as well.
const memoryLimit = 96 << 20

func serve(ctx context.Context, t *terminal, cfg local.Config) error {
	t.printf("flavorless is starting on the data folder %s\n", displayName(cfg.Dir))
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	server, err := local.Start(ctx, cfg)
	if err != nil {
		return startError(err)
	}
	info := server.Info()
	printReady(t, cfg.Dir, info)
	for {
		select {
		case <-ctx.Done():
			t.printf("stopping\n")
			return stopServer(ctx, server)
		case <-server.Failed():
		}
		if err = stopServer(ctx, server); !errors.Is(err, local.ErrBroken) {
			return err
		}
		if server, err = restart(ctx, cfg, info, err); err != nil {
			return err
		}
	}
}

// printReady prints the server's addresses, and what you can do next.
func printReady(t *terminal, dir string, info local.Info) {
	metrics := info.Metrics
	if metrics == "" {
		metrics = "not served; set --metrics"
	}
	t.printf("%s\n", t.style(green, "flavorless is ready"))
	bucket := []column{{name: "upload to"}, {name: "s3://" + info.Bucket + "/" + uploadsPrefix}, {name: "at " + info.S3}}
	t.table("  ", bucket, [][]string{
		{"read from", info.API + "/team", ""},
		{"changes on", info.NATS, "flavorless.change.>"},
		{"metrics at", metrics, ""},
		{"data folder", dir, ""},
	})
	data := ""
	if dir != defaultDir {
		data = clientFlags{data: dataDir{dir, true}}.targetFlags()
	}
	t.printf("\nIn another terminal:\n  flavorless upload%s favorites.csv\n  eval \"$(flavorless env%s)\"\n\n"+
		"Stop with Ctrl-C.\n",
		data, data)
}

// startError adds to errors that you can fix how to do that.
func startError(err error) error {
	switch {
	case errors.Is(err, local.ErrInUse):
		return usage("%w; stop that process first, or choose another folder with --data", err)
	case errors.Is(err, syscall.EADDRINUSE):
		return usage("%w; stop the program that listens there, or choose another address with --api, --s3, --nats "+
			"or --metrics (port 0: any free port)", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist),
		errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return usage("%w; choose a folder that you can write to with --data", err)
	case noSpace(err):
		return usage("%w; free space on the disk of the data folder", err)
	case errors.Is(err, local.ErrConfig), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, events.ErrUnavailable):
		return usage("%w", err)
	}
	return fmt.Errorf("starting the server: %w", err)
}

// noSpace reports whether the disk is full or a quota is exceeded. Errors of nats-server carry that reason only in
// their text, so this is the one place that matches text.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		strings.Contains(err.Error(), syscall.ENOSPC.Error())
}
