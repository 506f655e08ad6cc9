package stages

import (
	"context"

	lambdaevents "github.com/aws/aws-lambda-go/events"
)

// applier is an *ingest.Applier.
type applier interface {
	// Apply returns one error per body.
	Apply(ctx context.Context, bodies [][]byte) []error
}

// Apply writes batches of updates to the table.
type Apply struct {
	Common
	Applier applier
}

// Handle applies a batch of the updates queue. The topic delivers raw messages, so a body is a message as published.
func (a Apply) Handle(ctx context.Context, event lambdaevents.SQSEvent) (lambdaevents.SQSEventResponse, error) {
	bodies := make([][]byte, len(event.Records))
	for i, m := range event.Records {
		bodies[i] = []byte(m.Body)
	}
	return a.respond(ctx, "apply", event.Records, a.Applier.Apply(ctx, bodies))
}
