// Package ingest is the write side: from an uploaded file to stored favorites and announced changes. It knows no cloud, no
// broker and no database; what it needs of them it declares here, as interfaces of one to three methods.
//
//	object event ─▶ Ingester ─▶ batches ─▶ Applier ─▶ table ─▶ change feed ─▶ Announcer ─▶ changes
//	                   └─▶ rejects, ledger     └─▶ ledger
//
// # Reading
//
// Open (rows.go) tells the format by the name, checks it against the first bytes (format.go), undoes the compression and
// guards what comes out of it (source.go), converts it to UTF-8 (charset.go), and decodes row by row: csv.go (header.go,
// csvrecord.go, csvreason.go), json.go (jsonhead.go, jsonrow.go, jsonerror.go), ndjson.go. The object's metadata say how its
// uploader wants it read (options.go). Read and CheckColumns (reading.go) read a whole file. A row ends as an
// events.Update or as an events.Reject that says on which line and column what is wrong and how to mend it. A file that
// can't be read on is a FileError; a body that can't be read is any other error, and worth another try. One record is
// bounded by MaxRecord, and so is the memory.
//
// # Publishing
//
// Ingester (ingest.go) packs accepted rows into batches that end by their size alone, so that a second run cuts them
// where the first did, and publishes them several requests at a time, again only what failed of a request (publish.go).
// Rejected rows go to the reports bucket (rejects.go). Reading may stop between two batches and hand on the rest of the
// file as a span (pass.go); whoever goes on cuts the same batches and writes the same report. The reader then starts at the
// span's offset (continue.go), or, in a compressed file, reads from the beginning and skips what precedes the offset. In the
// end it seals the upload in the ledger, with the numbers of rows, rejected rows and batches. From then on the ledger knows when
// the last batch has been applied.
//
// # Applying and announcing
//
// Applier (apply.go) hands batches to the table, which writes a row only where nothing newer is stored, and counts each
// batch once. Announcer (announce.go) publishes what the table's change feed gives: the writer never publishes, so
// nothing is announced that was not stored, and nothing stored is left unannounced.
//
// # When something fails
//
// Every step may be repeated, whole or in part, in any order: ids and versions come from the object's event alone.
// An error that wraps events.ErrPermanent will not go away by trying again; the message belongs in the dead letters.
// Any other error means: deliver it again.
package ingest
