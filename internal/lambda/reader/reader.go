// Package reader is the main program of the functions that serve the read API. They differ in their name and in the
// tables that they may read; each serves the whole API, and API Gateway decides which function gets which route.
package reader

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/bootstrap"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/rest"
)

// Main runs the function called name, with the settings that read returns.
func Main(name string, read func(*config.Env) config.Reader) { bootstrap.Main(name, read, build) }

func build(tools bootstrap.Tools, cfg config.Reader) (lambda.Handler, error) {
	table := dynamo.New(dynamo.Config{
		Client:    dynamo.Client(clients.ReaderAccess(cfg.Account)),
		Favorites: cfg.FavoritesTable, Uploads: cfg.UploadsTable, Logger: tools.Log,
	})
	gateway, err := rest.New(rest.Config{
		Table: table, BasePath: cfg.BasePath, AllowedOrigins: cfg.AllowedOrigins, Metrics: tools.Metrics, Log: tools.Log,
	})
	if err != nil {
		return nil, err
	}
	return bootstrap.Handler(tools, gateway.Handle), nil
}
