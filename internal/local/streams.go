package local

import (
	"context"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/topic"
)

// streams is the embedded broker with the topics and queues of the server.
type streams struct {
	*broker.Server
	*queue.Queues
	*queue.DeadQueue

	uploads, updates *topic.Topic
	changes          *topic.Log
}

// startStreams starts the broker and opens its topics and queues.
func startStreams(ctx context.Context, c broker.Config) (_ *streams, err error) {
	s := &streams{}
	if s.Server, err = broker.Start(ctx, c); err != nil {
		return nil, err
	}
	s.DeadQueue = queue.NewDeadQueue(s.Server, c.Logger)
	s.Queues = queue.New(s.Server, s.DeadQueue, c.Logger)
	if s.uploads, err = topic.New(s.Server, broker.Uploads); err == nil {
		s.updates, err = topic.New(s.Server, broker.Updates)
	}
	if err == nil {
		s.changes, err = topic.OpenLog(ctx, s.Server)
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}
