// Package stages has the handlers of the write side's functions. Each decodes an AWS event, calls package ingest, and
// reports which records Lambda must redeliver.
//
//	S3 event, resume queue ─▶ Ingest      updates queue ─▶ Apply      stream of the favorites ─▶ Announce
//
// A record that can never succeed goes to the dead-letter queue at once, with the reason, and counts as done; retrying
// it would only delay the others. A record that failed for now is redelivered, and so is one whose dead letter can't
// be stored: no record is dropped.
package stages
