// Package queue consumes the work queues of the embedded broker, with the contract that SQS has in the cloud: at least
// once, bounded retries, dead letters.
//
// [Queues.Consume] delivers at least once, in no promised order. A message that failed is delivered again after a
// backoff and does not delay others meanwhile. After Config.MaxTries, or at once if the error wraps
// [events.ErrPermanent], it moves to the dead-letter queue: it is stored there before it is acknowledged, so a crash in
// between leaves it in both places, and never in neither.
//
// Every delivery counts as a try, even if the process ended during it. A message that kills the process
// therefore becomes a dead letter, too. After a crash, each message that was in flight is tried alone, so that one
// message does not use up the tries of others (inflight.go). Messages that were acknowledged, but that the crash has
// restored, are delivered again (redelivery.go).
//
// [Queues.Forward] copies changes to the queue of one webhook. An endpoint that fails therefore delays only its own
// changes, and has its own dead letters.
package queue
