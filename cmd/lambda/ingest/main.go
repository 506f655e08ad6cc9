// Command ingest is the Lambda function that reads uploaded files and publishes their rows in batches to the updates
// topic. An S3 event starts an upload; a message of the resume queue continues one.
package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/extsort"
	"github.com/flavorless/flavorless/internal/lambda/bootstrap"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/s3store"
)

// pause is how long before its deadline an invocation stops reading. In this time it publishes the last batches, with
// retries, and writes the report of rejected rows.
const pause = 20 * time.Second

func main() { bootstrap.Main("ingest", (*config.Env).Ingest, build) }

func build(tools bootstrap.Tools, cfg config.Ingest) (lambda.Handler, error) {
	dir := filepath.Join(os.TempDir(), "sorting")
	if err := extsort.Prepare(dir); err != nil { // Lambda may have ended an invocation
		return nil, err
	}
	access := clients.Access(cfg.Account)
	store := s3store.NewClient(access)
	ledger := dynamo.New(dynamo.Config{
		Client: dynamo.Client(access), Uploads: cfg.UploadsTable, Comparisons: cfg.ComparisonsTable, Logger: tools.Log,
	})
	updates := topics.Topic{Client: topics.Client(access), ARN: cfg.UpdatesTopic}
	stage := stages.Ingest{
		Common: stages.NewCommon(tools, access, cfg.DeadLetterQueue),
		Ingester: ingest.New(ingest.Config{
			Objects:       s3store.Objects{Client: store},
			Updates:       updates,
			Continuations: updates, // the subscriptions of the queues filter by the type of the message
			Ledger:        metrics.Ledger{Next: ledger, Recorder: tools.Metrics},
			Reports:       s3store.Reports{Client: store, Bucket: cfg.ReportsBucket},
			Sorting: ingest.Sorting{
				From: cfg.SortFrom, Dir: dir, MaxDisk: func() int64 { return stages.MaxSorting }, Group: dynamo.ShardOf,
			},
			Ignore: cfg.Ignore,
			Clock:  time.Now,
			Log:    tools.Log,
			Pause:  ingest.BeforeDeadline(pause),
		}),
	}
	return bootstrap.Handler(tools, stage.Handle), nil
}
