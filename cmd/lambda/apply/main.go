// Command apply is the Lambda function that writes batches of updates to the table.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/shell"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
)

func main() { shell.Main(build) }

func build(env *config.Env) (lambda.Handler, error) {
	function, account, cfg := env.Function("apply"), env.AWS(), env.Apply()
	if err := env.Err(); err != nil {
		return nil, err
	}
	tools, access := shell.NewTools(function), clients.For(account)
	table := dynamo.New(dynamo.Config{
		Client: dynamo.Client(access), Favorites: cfg.FavoritesTable, Uploads: cfg.UploadsTable, Logger: tools.Log,
	})
	applier := &ingest.Applier{Table: metrics.Table{Next: table, Recorder: tools.Metrics}, Log: tools.Log}
	common := stages.Common{DeadLetters: queues.DeadLetters{Client: queues.Client(access), URL: cfg.DeadLetterQueue}, Metrics: tools.Metrics, Log: tools.Log}
	return shell.Handler(tools, stages.Apply{Common: common, Applier: applier}.Handle), nil
}
