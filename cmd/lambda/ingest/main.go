// Command ingest is the Lambda function that reads uploaded files: from an S3 event, or a span of the resume queue, to
// batches on the updates topic.
package main

import (
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/shell"
	"github.com/flavorless/flavorless/internal/lambda/stages"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/s3store"
)

// pause is how long before its end an invocation stops reading. It is for what is still to be published, with retries, and
// for the report of rejected rows.
const pause = 20 * time.Second

func main() { shell.Main(build) }

func build(env *config.Env) (lambda.Handler, error) {
	function, account, cfg := env.Function("ingest"), env.AWS(), env.Ingest()
	if err := env.Err(); err != nil {
		return nil, err
	}
	tools, access := shell.NewTools(function), clients.For(account)
	store := s3store.NewClient(access)
	ledger := dynamo.New(dynamo.Config{Client: dynamo.Client(access), Uploads: cfg.UploadsTable, Logger: tools.Log})
	updates := topics.Topic{Client: topics.Client(access), ARN: cfg.UpdatesTopic}
	ingester := ingest.New(ingest.Config{
		Objects:       s3store.Objects{Client: store},
		Updates:       updates,
		Continuations: updates, // the subscriptions of the queues filter by the type of the message
		Ledger:        metrics.Ledger{Next: ledger, Recorder: tools.Metrics},
		Reports:       s3store.Reports{Client: store, Bucket: cfg.ReportsBucket},
		Ignore:        cfg.Ignore,
		Clock:         time.Now,
		Log:           tools.Log,
		Pause:         ingest.BeforeDeadline(pause),
	})
	common := stages.Common{DeadLetters: queues.DeadLetters{Client: queues.Client(access), URL: cfg.DeadLetterQueue}, Metrics: tools.Metrics, Log: tools.Log}
	return shell.Handler(tools, stages.Ingest{Common: common, Ingester: ingester}.Handle), nil
}
