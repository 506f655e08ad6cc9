// Package events is the contracts of flavorless: what flows between its stages, and the rules that make it come out
// right. It knows no cloud, no broker and no database. Read this page, then ingest (the write side), then api (the read
// side).
//
// # One row
//
// A file of favorites is put into a bucket. This is the way of one of its rows, say "andy,cookie dough":
//
//	bucket ──Object──▶ ingest ──Message of a Batch──▶ apply ──Update, if newer──▶ table ──Change──▶ subscribers
//	                     │                              │                           │
//	                     │ Reject                       │ Tally                     │ Favorite
//	                     ▼                              ▼                           ▼
//	              rejects.ndjson                Upload (the ledger)                readers
//
// The bucket announces an [Object]. Ingest opens the upload's record in the ledger ([Upload]), reads the file, and makes of
// each row an [Update], or a [Reject] that tells the uploader what to mend. It packs updates into batches ([BatchWriter])
// and publishes each as a [Message]. Apply decodes it ([DecodeBatch]), writes the updates that are newer than what the
// table holds ([Decide]), and counts them in the ledger ([BatchResult]). Where the favorite that is stored became another one,
// the table's own feed gives a [Change] ([NewChange]), and announce publishes it. Readers get a [Favorite].
//
// # Anything may come twice, late, or in another order
//
// S3, SNS, SQS and Lambda all deliver at least once, and none of them in order. flavorless asks nothing better of them.
// Instead, every row has a place in one total order, and the table keeps the greatest.
//
// The place is a [Version]: the time of the upload, the object's S3 sequencer, the upload's id and the row's offset, as one
// text of fixed width that compares as it should. What the rows of an upload have in common is its [Origin]. All of it comes
// from the announced object and the file, nothing from a clock or a counter, so that whoever reads the file again, today or
// next week, gives its rows the very same versions. The offset is a byte of the file rather than the number of the row,
// because reading can then go on from it.
//
// [Decide] is the rule of the table: a row is written only where nothing newer is stored. A removal is written, too, as a
// tombstone, or a late older row would bring the person back. From this rule alone it follows that all orders and
// repetitions of deliveries end in the same table.
//
// # Every row has one outcome
//
// A row that is read is applied, superseded (something newer is stored) or rejected. The three add up to the rows of the
// file: [Counts] of a settled upload. Two things keep that exact although deliveries repeat. A [Batch] is the unit of
// counting: it holds the same rows on every run, is named by its upload and first offset, and is recorded in the
// transaction that counts it, so a second delivery is known as a duplicate. And a row that finds its own version stored
// ([Repeated]) counts as applied, since an earlier try wrote it and broke off before it counted.
//
// People who come more than once in a batch are folded first ([Fold]): the last row wins, the others are superseded without
// having cost a write.
//
// # Subscribers are told what changed, not what was uploaded
//
// The same file uploaded twice writes every row again, with greater versions, and changes nothing: there is no [Change]. One
// comes if and only if the favorite became another, and it is derived from what the table has stored, never published
// beside the write, so that none is lost and none is untrue. Changes can repeat and overtake each other as well. A
// subscriber who keeps the one with the greatest version of each person has the table.
//
// # On the wire
//
// A [Message] is a CloudEvents 1.0 event in JSON, with attributes by which a subscription can filter. asyncapi.yaml
// documents the events for those outside; testdata has them byte by byte. What comes off a topic is not trusted: decoders
// refuse whatever the encoders never write, except for members that a later version may have added.
//
// Persons and flavors are names as [CleanName] gives them, everywhere behind the row decoders. So they can be compared as
// bytes, and no one has to wonder about white space or two ways to write an é.
//
// # The chapters
//
//	object.go    what the bucket announces, and the id of an upload
//	version.go   the order of all rows
//	name.go      what a person or a flavor may be
//	update.go    one row, and folding
//	reject.go    rows that are not accepted, files that can't be read, and the codes that say why
//	batch.go     rows that travel together; decode.go reads them back
//	table.go     the rule of the table
//	upload.go    the ledger's record, which is the uploader's report
//	change.go    what subscribers are told
//	announced.go the log of changes; filter.go chooses from it
//	message.go   the envelope of all that travels
//	errors.go    what the stages tell one another by errors
package events
