// Command authorizer is the Lambda authorizer of the API: API Gateway asks it whether a token may read.
package main

import (
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/lambda/authorizer"
	"github.com/flavorless/flavorless/internal/lambda/bootstrap"
	"github.com/flavorless/flavorless/internal/metrics/tokens"
)

func main() { bootstrap.Main("authorizer", (*config.Env).Authorizer, build) }

func build(tools bootstrap.Tools, cfg config.Authorizer) (lambda.Handler, error) {
	keys, err := jwks.New(jwks.Config{
		URI: cfg.JWKSURI, Client: &http.Client{Transport: transport()}, RefreshWait: time.Second, Logger: tools.Log,
		Observe: tokens.ObserveFetches(tools.Metrics),
	})
	if err != nil {
		return nil, err
	}
	verifier, err := api.NewVerifier(api.VerifierConfig{
		Issuer: cfg.Issuer, Audience: cfg.Audience, Keys: keys, RequiredScope: cfg.RequiredScope,
	})
	if err != nil {
		return nil, err
	}
	function := authorizer.Authorizer{Verifier: verifier, Metrics: tools.Metrics, Log: tools.Log}
	return bootstrap.Handler(tools, function.Handle), nil
}

// transport does not keep connections alive. Fetches are minutes apart, and the function is frozen in between, so an
// idle connection would be dead when it is used again.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: time.Second}).DialContext,
		DisableKeepAlives: true,
		ForceAttemptHTTP2: true,
	}
}
