// Command authorizer is the Lambda function that API Gateway asks whether a token may read.
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
	"github.com/flavorless/flavorless/internal/lambda/shell"
	"github.com/flavorless/flavorless/internal/metrics/tokens"
)

func main() { shell.Main(build) }

func build(env *config.Env) (lambda.Handler, error) {
	function, cfg := env.Function("authorizer"), env.Authorizer()
	if err := env.Err(); err != nil {
		return nil, err
	}
	tools := shell.NewTools(function)
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
	return shell.Handler(tools, authorizer.Authorizer{Verifier: verifier, Metrics: tools.Metrics, Log: tools.Log}.Handle), nil
}

// transport keeps no connections: fetches are minutes apart, and the function is frozen in between, so that a connection
// which is kept is one that has died.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: time.Second}).DialContext,
		DisableKeepAlives: true,
		ForceAttemptHTTP2: true,
	}
}
