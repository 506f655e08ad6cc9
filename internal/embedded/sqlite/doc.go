// Package sqlite is the table of one machine: favorites, upload ledger and change outbox in a single SQLite file.
//
// # One transaction
//
// Apply writes the winners of many batches, records each batch, moves the counters of their uploads and puts what
// changed into the outbox: all of it or nothing. From that follow the promises. A batch that is delivered again finds
// its record and counts nothing. A process that is killed leaves the table, the counts and the outbox agreeing with
// each other, whatever the moment. And a change is announced if and only if it was stored, because the outbox is
// written with the row and read by announce later.
//
// # What a row costs
//
// People arrive in random order, so almost every row dirties a page of its own, and writing pages is all that counts:
// first to the write-ahead log, then to the file. Three things keep the pages few.
//
//   - Rows are short. A version has 89 characters, and a hundred thousand rows share the first 76 of them: the origin.
//     It is kept once, in the table origins, and a row holds its number and the offset.
//   - The rows of a whole transaction are written sorted by person, so that each page is visited once. A person whom
//     several batches of the transaction name is written once, too: with the newest row; the others are superseded.
//   - The changes of a batch are one blob in the outbox, not a row each.
//
// Removed people are in a table of their own, so that listing the team does not read them.
//
// There is no read before the write either: the upsert itself hands the stored row to the rule of the table (see
// newer in apply.go).
//
// # Connections
//
// One connection writes, and whoever wants to write waits for it; a few others read. In WAL mode readers see what was
// committed when they began and never wait for the writer. A read that begins after Apply returned sees all of it.
//
// # Durability
//
// A committed transaction survives SIGKILL always. By default it survives a power cut, too: each commit syncs the log
// (synchronous=FULL). With Config.Relaxed only checkpoints sync; then a power cut may undo the last few transactions
// that were reported as done, though it can't damage the file. https://www.sqlite.org/pragma.html#pragma_synchronous
package sqlite
