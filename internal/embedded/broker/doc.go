// Package broker holds the topics and queues of the one-machine home: a NATS server with JetStream's file store,
// running inside the process, with the contracts that SNS and SQS give in the cloud.
//
// # Streams
//
//	UPLOADS   flavorless.upload       work queue: announced objects, for ingest
//	          flavorless.span.v1      and what is left to read of them
//	UPDATES   flavorless.updates.v1   work queue: batches, for apply
//	CHANGES   flavorless.change.>     a log of Config.ChangesAge, of which subscribers outside read a mirror
//	DEAD      flavorless.dead.<queue> what could not be processed, until it is redriven
//
// and for each webhook a WEBHOOK-<name> with the subject flavorless.webhook.<name>, a work queue as well: what Forward copies
// from CHANGES. So an endpoint that fails holds up nobody but itself, and has dead letters of its own.
//
// A message is stored once Publish has returned nil for it: it has been handed to the operating system, so a crash of
// the process, SIGKILL included, loses nothing. What a power failure can lose is bounded by Config.SyncInterval.
//
// # Queues
//
// Consume delivers at least once, in no promised order. A failed message comes back after a backoff, without holding up
// its neighbours; after MaxTries, or at once if the failure is events.ErrPermanent, it moves to DEAD: stored there first
// and acknowledged only then, so it may be in both places for a moment but never in neither. Every delivery counts as a
// try, one cut off by the end of the process too: a message that kills the process ends in DEAD as well, and after a
// crash each message that was in hand is tried alone, so that it takes no innocent ones along. Messages that were done, and
// that the crash has brought back, are delivered again (stale.go).
//
// There is no deduplication by the server. Its table of ids costs memory for every message, and, worse, it would swallow
// a redriven message whose original it still remembers. Consumers are idempotent anyway.
//
// # Who may do what
//
// All streams live in an internal NATS account. Subscribers log in to another account, which has nothing but a mirror of
// CHANGES, under the same name and with the same sequence numbers, and the changes as they are published. They may subscribe
// to flavorless.change.> and create and read consumers of the mirror. A mirror has no subjects, so nothing can be published
// to it, and whatever consumers subscribers make, readers over HTTP and webhooks do not depend on them (mirror.go).
//
// The server sends answers and deliveries to subjects that a client chooses, with permissions of its own. So every
// connection of a subscriber is looked at on its way to the server: replies and deliveries can only go to an inbox, and
// requests are small (subscribers.go, requests.go). Requests that a subscriber may not send are answered by this process, and so
// are those to delete a consumer (answers.go).
//
// [Server.Changes] reads CHANGES for those who are served over HTTP, without consumers (changes.go).
//
// # On the wire
//
// The body is the CloudEvent in structured mode, the attributes are NATS headers under their plain names, as they are
// message attributes on SNS. Beside them stand content-type (application/cloudevents+json) and ce-id, as in
// https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
package broker
