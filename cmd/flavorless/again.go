package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/flavorless/flavorless/internal/local"
)

// againPause is before each try to start again: the disk may still be full.
const againPause = 5 * time.Second

// stop stops a server and returns the errors of its parts that failed before or while stopping.
func stop(ctx context.Context, server *local.Server) error {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err := server.Stop(stopping)
	return errors.Join(server.Err(), err)
}

// startAgain starts a server after one whose streams broke, at the same addresses, as soon as that is possible. All was well
// with what it was told and what it had stored: whatever keeps it from starting lies in its surroundings, and may go away.
func startAgain(ctx context.Context, cfg local.Config, was local.Info, err error) (*local.Server, error) {
	cfg.API, cfg.S3, cfg.NATS = same(cfg.API, was.API), same(cfg.S3, was.S3), same(cfg.NATS, was.NATS)
	for {
		cfg.Log.WarnContext(ctx, "starting again", "in", againPause, "because", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(againPause):
		}
		var server *local.Server
		if server, err = local.Start(ctx, cfg); err == nil {
			return server, nil
		}
	}
}

// same is the address that a server had, where any port was good.
func same(address, was string) string {
	if _, port, err := net.SplitHostPort(address); err != nil || port != "0" {
		return address
	}
	u, err := url.Parse(was)
	if err != nil {
		return address
	}
	return u.Host
}
