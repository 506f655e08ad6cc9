// Package local is the server on one machine: it connects the core to the embedded adapters, in one process, on one
// data folder.
//
//	uploads ─▶ gateway ─▶ UPLOADS ─▶ ingest ─▶ UPDATES ─▶ apply ─▶ SQLite ─▶ announce ─▶ CHANGES ─▶ subscribers
//	                         ▲          │                             └─▶ api ─▶ readers
//	                         └──────────┘ continuations
//
// Each arrow survives a crash of the process at any instant. The gateway answers an upload only after its event is
// stored in UPLOADS. A queue removes a message only after its handler has finished. The table, the ledger and the
// outbox change in one transaction. The outbox removes a change only after it is stored in CHANGES. Work between the
// arrows may be repeated, and is idempotent. If the queues themselves are lost, unfinished uploads are read again.
//
// A file that takes longer than [Config.ReadFor] to read goes back into UPLOADS as a continuation: the same object from
// an offset on. A crash repeats only the reading since that offset, with the same batches, and each continuation has as
// many tries as an upload. So a file of any length is read to its end, however often the process dies. A continuation
// of an uncompressed file is read from the offset on, that of a compressed one from the beginning of the file. Only the
// first pass over a file with on-error=abort is not split.
//
// The commands serve and demo and the end-to-end tests start the same [Server].
package local
