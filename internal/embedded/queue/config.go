package queue

import (
	"cmp"
	"context"
	"time"

	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// Config describes how a queue is consumed. Zero values get the defaults named here.
type Config struct {
	Stream      broker.Stream               // Uploads, Updates, or the queue of a webhook
	MaxTries    int                         // deliveries after which a message becomes a dead letter; 5
	Backoff     func(try int) time.Duration // wait after a failed try, counted from 1; 1 s, 2 s, 4 s … at most 1 minute
	MaxMessages int                         // of a group; 10
	MaxBytes    int                         // of a group, headers included; a larger message is a group by itself; 4 MiB
	Concurrency int                         // groups handled at the same time; 1
	Pause       time.Duration               // between attempts while the handler returns events.ErrUnavailable; 5 seconds

	// AckWait is how long a message that was in flight at a crash may stay undelivered; 10 seconds. It does not limit how
	// long a handler may take, because a heartbeat extends it.
	AckWait time.Duration

	// Observe, if not nil, is called with the outcome of each delivery, except those during which the context ended.
	Observe func(Outcome)
}

// Outcome is the outcome of a delivery.
type Outcome int

// The outcomes of a delivery.
const (
	Done         Outcome = iota // handled
	Waiting                     // none yet, because of events.ErrUnavailable; observed once per group and attempt
	Retried                     // failed, and will be delivered again
	DeadLettered                // moved to the dead-letter queue
)

func (c Config) withDefaults() Config {
	c.MaxTries = cmp.Or(c.MaxTries, 5)
	c.MaxMessages = cmp.Or(c.MaxMessages, 10)
	c.MaxBytes = cmp.Or(c.MaxBytes, 4<<20)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.Pause = cmp.Or(c.Pause, 5*time.Second)
	c.AckWait = cmp.Or(c.AckWait, 10*time.Second)
	if c.Observe == nil {
		c.Observe = func(Outcome) {}
	}
	if c.Backoff == nil {
		c.Backoff = func(try int) time.Duration { return min(time.Second<<min(try-1, 6), time.Minute) }
	}
	return c
}

// Delivery is a message that is handed to a [Handler].
type Delivery struct {
	ID         string // empty if the message was published without one
	Subject    string
	Attributes map[string]string
	Body       []byte
	Tries      int // deliveries so far, including this one; 1 at the first
}

// Handler handles a group of messages. It returns nil if all are handled, or one error per message:
//
//   - nil: the message is handled.
//   - [events.ErrPermanent]: the message becomes a dead letter at once.
//   - [events.ErrUnavailable]: something that the message needs is unavailable. The same worker hands it over again
//     after a pause, with the same Tries, and takes no other group until it has another outcome.
//   - any other error: the message is delivered again after the backoff. If the error has a method
//     RetryAfter() time.Duration, the backoff is at least that long.
//
// A panic, or a wrong number of errors, counts as a failure of all messages.
type Handler func(ctx context.Context, group []Delivery) []error
