// Package operator declares how an operator lists and redrives dead letters: messages that could not be
// processed and wait in a dead-letter queue. [DeadLetters] has two implementations: internal/aws/stack for a stack on
// AWS, and internal/local/control for the server on this machine.
package operator

import (
	"context"
	"time"
)

// DeadLetters lists the dead letters of one deployment and puts them back into the pipeline.
type DeadLetters interface {
	// DeadQueues returns the names of all dead-letter queues, in the order in which they are listed.
	DeadQueues() []string
	// DeadQueue returns a queue with at most limit of its messages. The messages stay where they are.
	DeadQueue(ctx context.Context, name string, limit int) (DeadQueue, error)
	// Redrive puts the messages of a dead-letter queue back into the pipeline, where they have all their tries again. A
	// deployment whose messages have ids also takes the id of a single message as target. A message is deleted only after
	// it was put back, so an interrupted redrive may repeat messages but loses none. The progress function is called with
	// the number of messages restored so far. The result is valid even if the error is not nil.
	Redrive(ctx context.Context, target string, progress func(restored int64)) (RedriveResult, error)
}

// DeadQueue is a dead-letter queue and some of its messages.
type DeadQueue struct {
	Queue   string       `json:"queue"`
	Alias   string       `json:"alias,omitempty"` // another name of the queue; only on one machine
	Waiting int64        `json:"waiting"`         // number of messages; approximate on AWS
	Letters []DeadLetter `json:"letters"`         // the oldest ones on one machine, any on AWS
}

// DeadLetter describes one message in a dead-letter queue.
type DeadLetter struct {
	ID      uint64    `json:"id,omitempty"`    // only on one machine
	Tries   int       `json:"tries,omitempty"` // only on one machine
	Sent    time.Time `json:"sent"`            // when it entered the dead-letter queue
	Subject string    `json:"subject"`         // what the message is about
	Reason  string    `json:"reason"`          // why it could not be processed
}

// RedriveResult is the outcome of a redrive.
type RedriveResult struct {
	Queue    string   `json:"queue"` // or the id of a message
	Restored int64    `json:"restored"`
	Failures []string `json:"failures"` // one for each message that stays
}
