package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/flavorless/flavorless/internal/local"
)

// restartDelay is the time before each try to restart: a full disk, for example, needs time to be cleared.
const restartDelay = 5 * time.Second

// serverStopTimeout limits how long a server may take to stop.
const serverStopTimeout = 30 * time.Second

// stopServer stops a server even if ctx has ended. It returns the errors of all parts that failed.
func stopServer(ctx context.Context, server *local.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), serverStopTimeout)
	defer cancel()
	err := server.Stop(ctx)
	return errors.Join(server.Err(), err)
}

// restart starts a server at the addresses of one whose streams broke, and retries until it succeeds or ctx ends. The
// configuration and the stored data worked before, so the obstacle is outside of the process and may go away.
func restart(ctx context.Context, cfg local.Config, was local.Info, err error) (*local.Server, error) {
	cfg.API, cfg.S3, cfg.NATS = sameAddress(cfg.API, was.API), sameAddress(cfg.S3, was.S3), sameAddress(cfg.NATS, was.NATS)
	for {
		cfg.Log.WarnContext(ctx, "starting again", "event", "restarting", "delay_seconds", restartDelay.Seconds(),
			"error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(restartDelay):
		}
		var server *local.Server
		if server, err = local.Start(ctx, cfg); err == nil {
			return server, nil
		}
	}
}

// sameAddress returns the address that a server was listening on if it was configured to choose any free port.
func sameAddress(configured, was string) string {
	if _, port, err := net.SplitHostPort(configured); err != nil || port != "0" {
		return configured
	}
	u, err := url.Parse(was)
	if err != nil {
		return configured
	}
	return u.Host
}
