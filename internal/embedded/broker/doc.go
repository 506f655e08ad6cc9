// Package broker embeds a NATS server with JetStream's file store: the topics and queues of a deployment on one
// machine. The packages topic and queue publish to it and consume from it.
//
// # Streams
//
//	UPLOADS   flavorless.upload       work queue: objects to read, for ingest
//	          flavorless.span.v1      and continuations of reading them
//	UPDATES   flavorless.updates.v1   work queue: batches, for apply
//	CHANGES   flavorless.change.>     log of Config.ChangesAge; subscribers read a mirror of it
//	DEAD      flavorless.dead.<queue> dead letters, until they are redriven
//
// Each webhook has another work queue, WEBHOOK-<name>, with the subject flavorless.webhook.<name>.
//
// A message that the server has acknowledged is written to the operating system, so a crash of the process, also by
// SIGKILL, does not lose it. A power failure can lose the messages of the last Config.SyncInterval.
//
// The server does not deduplicate: its table of ids costs memory for every message, and it would drop a redriven
// message whose original it still remembers. Consumers are idempotent anyway.
//
// # Recovery
//
// The server deletes a stream that it can't open, and skips message files that are missing. A snapshot (snapshot.go)
// and a manifest (manifest.go) protect the data folder from both. [Start] fails rather than replacing a stored stream
// by an empty one.
//
// # Permissions
//
// All streams are in an internal NATS account. Subscribers use another account, which has only a mirror of CHANGES,
// with the same name and the same sequence numbers, and the changes as they are published. They may subscribe to
// flavorless.change.> and create and read consumers of the mirror. Nothing can be published to a mirror, because it has
// no subjects. Readers over HTTP and webhooks do not depend on the consumers of subscribers (mirror.go).
//
// The server sends answers and deliveries with its own permissions, to subjects that a client chooses. Therefore every
// request of a subscriber is checked on its way to the server: replies and deliveries can only go to an inbox, and
// requests are small (subscribers.go, requests.go, consumers.go). This process answers the requests that a subscriber
// may not send, and those to delete a consumer (answers.go).
//
// # Message format
//
// The body is a CloudEvent in structured mode. The attributes are NATS headers with the same names, like message
// attributes on SNS. Further headers are content-type (application/cloudevents+json) and ce-id, as in
// https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
package broker
