package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/local"
)

const serveHelp = `Run the whole pipeline in the foreground: the bucket (S3 protocol), the topics and queues (NATS), the table, and the read
API. All that it keeps lies in one data folder; started again on it, it goes on where it was. It listens on this machine
only, unless told otherwise, and stops cleanly on SIGINT or SIGTERM.

Without --issuer, --audience and --jwks-uri the API takes tokens of a development issuer, whose key lies in the data folder
(flavorless token, flavorless env). With them it takes those of your identity provider, and no others.`

func newServe(t *terminal) *cobra.Command {
	var cfg local.Config
	var verbose, logJSON bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the whole pipeline on this machine", Long: serveHelp,
		Example: "  flavorless serve\n  flavorless serve --data /var/lib/flavorless --api 127.0.0.1:8081\n  flavorless serve --issuer https://id.example.com/ --audience flavorless --jwks-uri https://id.example.com/jwks.json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Log = newLog(t, verbose, logJSON)
			return serve(c.Context(), t, cfg)
		},
	}
	dataFlag(c, &cfg.Dir)
	flags := c.Flags()
	flags.StringVar(&cfg.API, "api", "127.0.0.1:8080", "address of the read API")
	flags.StringVar(&cfg.S3, "s3", "127.0.0.1:9000", "address of the bucket")
	flags.StringVar(&cfg.NATS, "nats", "127.0.0.1:4222", "address where subscribers get changes")
	flags.StringVar(&cfg.Issuer, "issuer", "", "accept tokens with this iss claim")
	flags.StringVar(&cfg.Audience, "audience", "", "and this aud claim")
	flags.StringVar(&cfg.JWKSURI, "jwks-uri", "", "signed by a key that is found there")
	flags.StringVar(&cfg.RequiredScope, "required-scope", "", "and with this scope")
	flags.DurationVar(&cfg.ReadFor, "read-for", 10*time.Second, "read a file for so long at a time; a crash repeats so much")
	flags.BoolVar(&verbose, "verbose", false, "log every batch")
	flags.BoolVar(&logJSON, "log-json", false, "log as JSON")
	return c
}

func newLog(t *terminal, verbose, asJSON bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	if asJSON {
		return slog.New(slog.NewJSONHandler(t.err, options))
	}
	return slog.New(slog.NewTextHandler(t.err, options))
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
	t.printf("%s\n", t.style(green, "flavorless is ready"))
	t.table("  ", []string{"upload to", "s3://" + info.Bucket + "/" + uploadsPrefix, "at " + info.S3}, [][]string{
		{"read from", info.API + "/team", ""},
		{"changes on", info.NATS, "flavorless.change.>"},
		{"data folder", cfg.Dir, ""},
	})
	data := ""
	if cfg.Dir != defaultData {
		data = " --data " + cfg.Dir
	}
	t.printf("\nIn another terminal:\n  flavorless upload%s favorites.csv\n  eval \"$(flavorless env%s)\"\n\nStop with Ctrl-C.\n", data, data)
	select {
	case <-ctx.Done():
	case err = <-server.Failed():
	}
	t.printf("stopping\n")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, server.Stop(stopping))
}

// surroundings turns what only the user can mend into a line that says how.
func surroundings(err error) error {
	switch {
	case errors.Is(err, local.ErrInUse):
		return usage("%w; stop that one first, or choose another folder with --data", err)
	case errors.Is(err, syscall.EADDRINUSE):
		return usage("%w; stop what listens there, or choose another address with --api, --s3 or --nats (port 0: any free one)", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENOSPC):
		return usage("%w; choose a folder that can be written, with --data", err)
	case errors.Is(err, local.ErrConfig), errors.Is(err, syscall.EADDRNOTAVAIL):
		return usage("%w", err)
	}
	return fmt.Errorf("starting: %w", err)
}
