// Command apply is the Lambda function that writes batches of updates to the table.
package main

import (
	"context"
	"io"
	"sync"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/bootstrap"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/s3store"
)

func main() { bootstrap.Main("apply", (*config.Env).Apply, build) }

func build(tools bootstrap.Tools, cfg config.Apply) (lambda.Handler, error) {
	access := clients.Access(cfg.Account)
	table := dynamo.New(dynamo.Config{
		Client: dynamo.Client(access), Favorites: cfg.FavoritesTable, Uploads: cfg.UploadsTable,
		Comparisons: cfg.ComparisonsTable, Logger: tools.Log,
	})
	stage := stages.Apply{
		Common: stages.NewCommon(tools, access, cfg.DeadLetterQueue),
		Applier: &ingest.Applier{
			Table: metrics.Table{Next: table, Recorder: tools.Metrics},
			Copies: copies(sync.OnceValue(func() s3store.Reports {
				return s3store.Reports{Client: s3store.NewClient(access), Bucket: cfg.ReportsBucket}
			})),
			Group: dynamo.ShardOf, Log: tools.Log,
		},
	}
	return bootstrap.Handler(tools, stage.Handle), nil
}

// copies reads sorted copies from the reports bucket that it returns. Few invocations need them, so the client is not
// created before.
type copies func() s3store.Reports

// OpenAt opens an object as [s3store.Reports.OpenAt] does.
func (c copies) OpenAt(ctx context.Context, key string) (io.ReaderAt, int64, error) {
	return c().OpenAt(ctx, key)
}
