// Command uploads is the Lambda function that answers GET /uploads and /uploads/{id}: what became of each
// upload. It also serves what is open to all, and says 404 where there is no route.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/rest"
	"github.com/flavorless/flavorless/internal/lambda/shell"
)

func main() { shell.Main(build) }

func build(env *config.Env) (lambda.Handler, error) {
	function, account, cfg := env.Function("uploads"), env.AWS(), env.Uploads()
	if err := env.Err(); err != nil {
		return nil, err
	}
	tools, access := shell.NewTools(function), clients.ForReader(account)
	table := dynamo.New(dynamo.Config{
		Client: dynamo.Client(access), Favorites: cfg.FavoritesTable, Uploads: cfg.UploadsTable, Logger: tools.Log,
	})
	gateway, err := rest.New(rest.Config{Table: table, BasePath: cfg.BasePath, AllowedOrigins: cfg.AllowedOrigins, Metrics: tools.Metrics, Log: tools.Log})
	if err != nil {
		return nil, err
	}
	return shell.Handler(tools, gateway.Handle), nil
}
