package local

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/metrics/tokens"
)

// developmentKeysTimeout is how long the keys of the development issuer may take. They come from this process, so only
// a busy machine delays them.
const developmentKeysTimeout = 20 * time.Second

// verifier returns the verifier of tokens from the configured identity provider or else the development issuer, and in
// the second case a handler that serves the issuer's keys. The verifier fetches them from there over HTTP, as it does
// from an identity provider, so that there is one way to verify a token.
func (s *Server) verifier() (*api.Verifier, http.Handler, error) {
	set := jwks.Config{URI: s.cfg.JWKSURI, Clock: s.cfg.Clock, Logger: s.cfg.Log, Observe: s.observeKeys()}
	config := api.VerifierConfig{
		Issuer: s.cfg.Issuer, Audience: s.cfg.Audience, RequiredScope: s.cfg.RequiredScope, Clock: s.cfg.Clock,
	}
	var handler http.Handler
	if s.cfg.development() {
		is, err := issuer.Open(issuer.Config{Dir: IssuerDir(s.folder.dir), Clock: s.cfg.Clock})
		if err != nil {
			return nil, nil, err
		}
		handler, config.Issuer, config.Audience = is, is.Name(), developmentAudience
		set.URI = "http://localhost" + issuer.JWKSPath
		set.Timeout = developmentKeysTimeout
		address := s.listener.Addr().String()
		set.Client = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			},
		}}
	}
	keys, err := jwks.New(set)
	if err != nil {
		return nil, nil, configError{fmt.Errorf("--jwks-uri: %w", err)}
	}
	config.Keys = keys
	verifier, err := api.NewVerifier(config)
	if err != nil {
		return nil, nil, configError{fmt.Errorf("--required-scope: %w", err)} // the other values are checked
	}
	return verifier, handler, nil
}

// observeKeys returns a function that counts fetches of the issuer's keys and reports them as a heartbeat.
func (s *Server) observeKeys() func(error) {
	count, heartbeat := tokens.ObserveFetches(s.recorder), s.heartbeats.Of("keys")
	return func(err error) {
		count(err)
		heartbeat.Beat(err == nil)
	}
}
