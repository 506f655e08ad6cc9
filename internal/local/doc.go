// Package local is the house on one machine: it wires the core to the embedded adapters, in one process, over one data
// folder.
//
//	uploads ─▶ gateway ─▶ UPLOADS ─▶ ingest ─▶ UPDATES ─▶ apply ─▶ SQLite ─▶ announce ─▶ CHANGES ─▶ subscribers
//	                                                                  └─▶ api ─▶ readers
//
// Every arrow is a hand-over that survives the end of the process at any instant: the gateway answers an upload only once
// its announcement is stored in UPLOADS; a queue forgets a message only when its handler is done; the table, the ledger
// and the outbox change in one transaction; the outbox forgets a change only when CHANGES has it. What lies between the
// arrows may be done twice, and is idempotent. Should the queues themselves be lost, what was under way is read again.
//
// flavorless serve, flavorless demo and the end-to-end tests all start the same Server.
package local
