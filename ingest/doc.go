// Package ingest is the write side of flavorless: it turns uploaded files into stored favorites and published changes.
// It imports no cloud SDK, no broker and no database. It declares the interfaces that it needs from them, each with one
// to three methods.
//
//	object event ─▶ Ingester ─▶ batches ─▶ Applier ─▶ table ─▶ change feed ─▶ Announcer ─▶ changes
//	                   └─▶ report, ledger      └─▶ ledger
//
// # Reading files
//
// [Read] reads a file to its end. [Rows] reads it row by row, in steps that each have a file:
//
//   - [FileTypeOf] derives the format and the compression from the name, and checks them against the content
//     (format.go).
//   - The content is decompressed (source.go) and converted to UTF-8 (charset.go).
//   - A decoder yields the rows: csv.go (with header.go, csvrecord.go and csvreason.go), json.go (with jsonhead.go,
//     jsonrow.go, jsonplain.go and jsonerror.go) or ndjson.go. They share window.go (the current record), columns.go,
//     rows.go, text.go and character.go.
//
// [Options] are how the uploader wants the file to be read, as stated in the object's metadata. Each row is either an
// [events.Update], or an [events.Reject] that states the line, the column, what is wrong and how to fix it. If the rest
// of the file can't be read, the error is a [FileError]. Any other error comes from the body, so reading may succeed
// later. Memory is bounded, because a record has at most [MaxRecord] bytes.
//
// # Publishing batches
//
// [Ingester] reads an object and publishes its rows in batches. The end of a batch depends only on its size, so reading
// the file again yields the same batches. Several publish requests are in flight at a time, and only the failed
// messages of a request are retried (publish.go). Rejected rows are written to a report in the reports bucket
// (rejects.go).
//
// [Config.Pause] can stop the reading between two batches (pass.go). The Ingester then publishes an
// [events.Continuation], and the consumer of that message calls [Ingester.Resume], which publishes the same batches and
// writes the same report as without the pause. Resume starts reading at the continuation's offset; in a compressed
// file, it reads from the beginning and skips the rows before the offset (continue.go).
//
// # Sorting large files
//
// Files of at least [Sorting].From bytes are read to their end and sorted first (sorted.go). The sorted rows are stored
// in the reports bucket under [CopyKey], and published from there in the order of the table. The batches have
// [events.Batch.Compare], so that rows which change nothing are not written. A continuation of such an upload is a
// position in the copy. If sorting needs too much disk or time, an empty object in its place records that the file is
// read like a small one, also by later deliveries. The ledger records whether an upload is sorted, so that later
// deliveries cut the same batches even if From has changed.
//
// # Sealing
//
// At the end of the file, the Ingester seals the upload in the ledger: it records the numbers of rows, rejected rows
// and batches. When that many batches have been applied, the ledger settles the upload.
//
// # Applying batches and announcing changes
//
// [Applier] passes batches to the table, which writes a row only if no newer one is stored and counts each batch once.
// If the batch arrives late, the Applier also yields the rows of newer sorted uploads for the same persons (repair.go).
// [Announcer] publishes the changes that the table's change feed yields. Because the writer itself publishes nothing,
// every announced change has been stored, and every stored change is announced.
//
// # Errors
//
// Every step can be repeated, completely or in part, in any order, because ids and versions depend only on the object's
// event. An error that wraps [events.ErrPermanent] will occur again on every retry, so the message belongs in the
// dead-letter queue. After any other error, deliver the message again.
package ingest
