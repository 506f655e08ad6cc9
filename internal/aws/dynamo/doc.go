// Package dynamo is the table in the cloud: favorites and upload ledger in two DynamoDB tables, changes from the stream of
// the first. It does what the embedded SQLite table does, by other means: there is no transaction over many rows here,
// and every write has its price.
//
// # The tables
//
// Favorites: partition key shard (a number, the hash of the person modulo 16), sort key person; flavor, version; expires
// on tombstones. Sixteen partition keys spread bulk loads over the partitions of the table, though not evenly, and still
// give a sorted team: each shard is sorted, and Team merges them.
//
// Uploads: partition key id. Three kinds of items live in it:
//
//	<upload>          the record: status, counts, times; under 2 KB, since every batch rewrites it
//	<upload>/rejects  the first rejects, compressed
//	<upload>/<first>  a marker of one applied batch; it expires
//
// The index "newest" (partition key list, which is the same for all, and sort key origin; keys only) lists the records.
// A single partition takes a thousand uploads a second, because keys are written once: counts don't touch it.
//
// # How a batch is applied
//
//  1. Markers tell which batches were applied before. They are duplicates: nothing is read or written for them.
//  2. Of the rows left, only the newest of each person is a candidate; the others are superseded.
//  3. BatchGetItem learns what is stored, a hundred people a call. What is not newer is superseded, or repeated.
//  4. BatchExecuteStatement writes the others, 25 a call: INSERT for the unknown, UPDATE … WHERE version < mine for the
//     known. Both fail by themselves if somebody else was faster; then UpdateItem decides, row by row.
//  5. One transaction an upload puts the markers and moves the counters. A marker that is there already takes its batch
//     out of the transaction.
//  6. If the record now says that all is applied, one conditional update makes it live, or failed.
//
// Steps 3 and 4 are done at the same time for different rows. What is throttled in any step is tried again until shortly
// before the deadline of the context; then Apply returns events.ErrUnavailable.
//
// A process may die between any two steps, and the batch comes again: rows that it finds under their own version count
// as applied (step 3); a batch with a marker is not counted again (1, 5); and step 6 is done for duplicates, too, and by
// every Seal, so that an upload whose last writer died before it is settled by the next delivery.
//
// # What it costs
//
// A write unit for each row that is newer than what is stored, a read unit for each person in a batch that is no
// duplicate, and about six write units a batch for the ledger. A failed condition costs its unit, which is why rows are
// read first: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html
//
// # What the tables need
//
// Streams with new and old images, and a time to live on expires, on favorites; a time to live on expires on uploads.
package dynamo
