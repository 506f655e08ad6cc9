// Package sqlite is the table of the one-machine deployment. A single SQLite file holds the favorites, the upload
// ledger and the outbox of changes.
//
// # One transaction
//
// Apply does everything in one transaction: it writes the newest rows of many batches, records each batch, updates the
// counters of their uploads, and adds the changes to the outbox. The promises of flavorless depend on this. A batch
// that is delivered again finds its record and counts nothing. After a process is killed, the table, the counts and the
// outbox agree. A change is announced if and only if it was stored, because the outbox is written together with the
// row.
//
// # The cost of a row
//
// People arrive in random order, so almost every row changes a different page, and writing pages dominates the cost:
// each changed page is written to the write-ahead log and then to the file. Three decisions reduce the number of pages:
//
//   - Rows are short. A version has 89 characters, of which the first 76, the origin, are the same for all rows of an
//     upload. The table origins holds each origin once, and a row holds its number and the offset.
//   - The rows of a transaction are written sorted by person, so that each page is visited once. If several rows of a
//     transaction name one person, only the newest is written; the others are superseded.
//   - The changes of a batch are one blob in the outbox, not one row each.
//
// Removed people are in a table of their own, so that listing the team does not read them.
//
// Rows of small files are not read before they are written: the upsert passes the stored row to a function that decides
// which one is newer; see newer in row.go.
//
// # Unchanged rows
//
// Rows of a batch with Compare are read before they are written, in one pass over the table in the order of persons
// (compare.go). A row that would not change the flavor is counted as unchanged, and the stored row keeps its version.
// Every transaction of Apply first looks for comparing uploads that are newer than its batches. If there are any, it
// also writes the rows that these uploads have for the same persons; see docs/adr/0021-comparing-uploads.md. The look
// and the writes are in one transaction, so no reader sees an older flavor in between.
//
// # Connections
//
// One connection writes, and callers wait for it; a few others read. In WAL mode, readers see what was committed when
// they began, and never wait for the writer. A read that begins after Apply returned sees everything Apply wrote.
//
// # Durability
//
// A committed transaction always survives SIGKILL. By default it also survives a power cut, because each commit syncs
// the log (synchronous=FULL). With Config.Relaxed only checkpoints sync: a power cut may then undo the last
// transactions, although they were reported as done, but it can't damage the file.
// https://www.sqlite.org/pragma.html#pragma_synchronous
package sqlite
