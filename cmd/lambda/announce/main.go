// Command announce is the Lambda function that tells subscribers what changed in the table.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/shell"
	"github.com/flavorless/flavorless/internal/lambda/stages"
)

func main() { shell.Main(build) }

func build(env *config.Env) (lambda.Handler, error) {
	function, account, cfg := env.Function("announce"), env.AWS(), env.Announce()
	if err := env.Err(); err != nil {
		return nil, err
	}
	tools, access := shell.NewTools(function), clients.For(account)
	announcer := &ingest.Announcer{Changes: topics.Topic{Client: topics.Client(access), ARN: cfg.ChangesTopic}, Log: tools.Log}
	common := stages.Common{DeadLetters: queues.DeadLetters{Client: queues.Client(access), URL: cfg.DeadLetterQueue}, Metrics: tools.Metrics, Log: tools.Log}
	return shell.Handler(tools, stages.Announce{Common: common, Announcer: announcer}.Handle), nil
}
