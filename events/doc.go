// Package events defines the contracts between the stages of flavorless: the data that they exchange and the rules that
// make the results correct. It imports no cloud SDK, no broker and no database. Read this page first, then package
// ingest (the write side), then package api (the read side).
//
// # The path of a row
//
// An uploader puts a file of favorites into a bucket. Each row, such as "andy,cookie dough", takes this path:
//
//	bucket ──Object──▶ ingest ──Message with a Batch──▶ apply ──Update, if newer──▶ table ──Change──▶ subscribers
//	                     │                                │                           │
//	                     │ Reject                         │ BatchResult               │ Favorite
//	                     ▼                                ▼                           ▼
//	              rejects.ndjson                   Upload (ledger)                 readers
//
// The steps are:
//
//  1. The bucket announces the stored file as an [Object].
//  2. Ingest creates the [Upload] record in the ledger and reads the file. Each row becomes an [Update], or a [Reject]
//     that tells the uploader what to fix.
//  3. Ingest packs the updates into batches ([BatchWriter]) and publishes each [Batch] as a [Message].
//  4. Apply decodes the message ([DecodeBatch]), writes the updates that are newer than the stored rows ([Decide]),
//     and records a [BatchResult] in the ledger.
//  5. If a stored flavor has changed, the table's change feed yields a [Change] ([NewChange]), and announce publishes
//     it.
//  6. Readers get a [Favorite].
//
// # Messages may be repeated, late and out of order
//
// S3, SNS, SQS and Lambda deliver at least once and in any order. flavorless needs nothing more: every row has a
// [Version], versions are totally ordered, and the table keeps the row with the greatest version of each person.
//
// A version consists of the upload time, the object's S3 sequencer, the upload id and the row's offset in the file. The
// part that all rows of an upload share is the [Origin]. Versions depend only on the event and the file, not on a clock
// or a counter, so reading the file again yields the same versions. The offset is in bytes, not in rows, so that
// reading can resume there.
//
// [Decide] writes a row only where nothing newer is stored. A removal is stored too, as a tombstone; otherwise an older
// row that arrives late would restore the person. The table therefore ends in the same state for every order and
// repetition of deliveries.
//
// # Every row has exactly one outcome
//
// A row is applied, unchanged, superseded (a newer row is stored) or rejected. In the [Counts] of a settled upload the
// four add up to the number of rows. Repeated deliveries do not change the counts, for two reasons:
//
//   - A batch contains the same rows whenever the file is read, and its id is derived from the upload and its first
//     offset. Apply records the id in the transaction that counts the batch, so it recognizes a second delivery as a
//     duplicate.
//   - A row that finds its own version stored ([Repeated]) counts as applied: an earlier attempt wrote it and stopped
//     before it counted the batch.
//
// If a person occurs several times in a batch, the table writes the last row. The others count as superseded and cost
// no write.
//
// # Large files are compared with the table
//
// Most rows of a nightly export are equal to the stored ones. Ingest therefore sorts a large file and publishes batches
// that cover contiguous ranges of persons and have [Batch.Compare]. Apply reads such a range and leaves the rows whose
// person already has the flavor: they are unchanged ([Batch.Skips]). Removals are always written. Small files write
// every row.
//
// An unchanged row relies on an older version in the table. If a batch of an upload in between arrives late, it
// replaces that version, although the unchanged row is newer. Tables therefore look for newer comparing uploads
// whenever they apply a batch, and also write the rows that these uploads have for the same persons, under their own
// versions ([Repair]). docs/adr/0021-comparing-uploads.md has the protocol and its proof.
//
// # Subscribers receive changes, not rows
//
// Uploading the same file again publishes nothing. A small file writes every row with a greater version; a large file
// writes nothing, except removals. A [Change] is published if and only if the stored flavor changed. Changes are
// derived from the table's change feed after the write, so none is lost and none is false. They may be repeated and
// reordered; a subscriber that keeps the change with the greatest version of each person has a copy of the table.
//
// # Messages
//
// A [Message] is a CloudEvents 1.0 event in JSON, with attributes by which subscriptions can filter. asyncapi.yaml
// documents all events, and testdata contains their exact bytes. Decoders do not trust a topic: they refuse everything
// that the encoders do not write, except unknown members, which a later version may add.
//
// Persons and flavors are normalized by [CleanName] when a row is read. Everywhere else they can be compared as bytes.
//
// # Files
//
//	object.go        Object, and the upload id derived from it
//	version.go       Origin and Version: the order of all rows
//	name.go          valid persons and flavors
//	update.go        Update: an accepted row
//	reject.go        rejected rows, failed files, and their codes
//	batch.go         Batch and its encoder; decode.go has the decoder
//	continuation.go  the rest of a file whose reading was interrupted
//	table.go         Decide, Repair, Favorite and BatchResult
//	upload.go        Upload: the ledger's record, which is the uploader's report
//	change.go        Change; changelog.go selects from the log of changes
//	message.go       Message: the envelope of all events
//	ignore.go        objects that are not uploads
//	errors.go        errors shared by the core and its adapters
package events
