// Command apply is the Lambda function that writes batches of updates to the table.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/bootstrap"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
)

func main() { bootstrap.Main("apply", (*config.Env).Apply, build) }

func build(tools bootstrap.Tools, cfg config.Apply) (lambda.Handler, error) {
	access := clients.Access(cfg.Account)
	table := dynamo.New(dynamo.Config{
		Client: dynamo.Client(access), Favorites: cfg.FavoritesTable, Uploads: cfg.UploadsTable, Logger: tools.Log,
	})
	stage := stages.Apply{
		Common:  stages.NewCommon(tools, access, cfg.DeadLetterQueue),
		Applier: &ingest.Applier{Table: metrics.Table{Next: table, Recorder: tools.Metrics}, Log: tools.Log},
	}
	return bootstrap.Handler(tools, stage.Handle), nil
}
