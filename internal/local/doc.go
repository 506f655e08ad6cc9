// Package local is the house on one machine: it wires the core to the embedded adapters, in one process, over one data
// folder.
//
//	uploads ─▶ gateway ─▶ UPLOADS ─▶ ingest ─▶ UPDATES ─▶ apply ─▶ SQLite ─▶ announce ─▶ CHANGES ─▶ subscribers
//	                         ▲          │                             └─▶ api ─▶ readers
//	                         └── spans ─┘
//
// Every arrow is a hand-over that survives the end of the process at any instant: the gateway answers an upload only once
// its announcement is stored in UPLOADS; a queue forgets a message only when its handler is done; the table, the ledger
// and the outbox change in one transaction; the outbox forgets a change only when CHANGES has it. What lies between the
// arrows may be done twice, and is idempotent. Should the queues themselves be lost, what was under way is read again.
//
// A file that takes longer than Config.ReadFor to read goes back into UPLOADS as a span: the same object from an offset on
// (reading.go). A crash repeats what was read since, with the same batches, and the new message has all its tries: however
// long a file is, and however often the process dies, it comes to its end. The rest of an uncompressed file is read from the
// offset on, that of a compressed one from the file's beginning. Only the first look at a file with on-error=abort is taken in
// one go.
//
// flavorless serve, flavorless demo and the end-to-end tests all start the same Server.
package local
