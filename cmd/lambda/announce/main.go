// Command announce is the Lambda function that publishes changes of the table to the changes topic.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/bootstrap"
	"github.com/flavorless/flavorless/internal/lambda/clients"
	"github.com/flavorless/flavorless/internal/lambda/stages"
)

func main() { bootstrap.Main("announce", (*config.Env).Announce, build) }

func build(tools bootstrap.Tools, cfg config.Announce) (lambda.Handler, error) {
	access := clients.Access(cfg.Account)
	stage := stages.Announce{
		Common: stages.NewCommon(tools, access, cfg.DeadLetterQueue),
		Announcer: &ingest.Announcer{
			Changes: topics.Topic{Client: topics.Client(access), ARN: cfg.ChangesTopic}, Log: tools.Log,
		},
	}
	return bootstrap.Handler(tools, stage.Handle), nil
}
