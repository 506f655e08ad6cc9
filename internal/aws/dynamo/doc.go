// Package dynamo stores favorites and the upload ledger in three DynamoDB tables. Changes are read from the stream of
// the favorites table. It provides what the embedded SQLite table provides, without transactions over many rows, and
// with a price for every write.
//
// # Tables
//
// Favorites has the partition key shard (a number: a hash of the person modulo 16), the sort key person, the attributes
// flavor and version, and expires on tombstones. Sixteen partition keys spread bulk loads over the partitions of the
// table, though not evenly, and still allow a sorted listing: each shard is sorted, and Team merges them.
//
// Uploads has the partition key id. It contains three kinds of items:
//
//	<upload>          the record: status, counts, times; under 2 KB, because every batch rewrites it
//	<upload>/rejects  the first rejects, compressed
//	<upload>/<first>  a marker of one applied batch; it expires
//
// The index "newest" lists the records: its partition key list is the same for all, its sort key is origin, and it
// contains only keys. One partition is enough for a thousand uploads per second, because updates of counts don't write
// the keys.
//
// Comparisons lists the uploads that leave rows unchanged. Its partition key list is the same for all items, its sort
// key is origin, and its items expire. It is a table and not an index, because only tables can be read with strong
// consistency.
//
// # How a batch is applied
//
//  1. Markers show which batches are duplicates. Nothing is read or written for those.
//  2. Of the remaining rows, only the newest of each person is a candidate; the others are superseded.
//  3. The stored versions are read: with a Query of their range for the people of comparing batches, which are sorted,
//     and with BatchGetItem for the others, a hundred per call. A row that is not newer is superseded, or a repetition.
//     A row of a comparing batch is unchanged if its person already has the flavor.
//  4. BatchExecuteStatement writes the other rows, 25 per call: INSERT for new people, UPDATE … WHERE version < mine
//     for known people. A statement fails if another writer was faster; then UpdateItem decides about the row.
//  5. A Query looks for comparing uploads that are newer than the oldest batch. If there are any, their rows for the
//     people of the batches are read from their sorted copies and written as in steps 3 and 4, and this step is
//     repeated until it finds no other.
//  6. One transaction per upload writes the markers and updates the counters. A batch whose marker exists is removed
//     from the transaction.
//  7. If the record now shows that all batches are applied, one conditional update makes the upload live or failed.
//
// Step 5 is needed because a newer upload may have left a row unchanged that step 4 has then replaced. Its announcement
// is older than its reads, and those are older than the write of step 4, so the Query finds it.
//
// Steps 3 and 4 run concurrently for different rows. Throttled calls of any step are retried until shortly before the
// deadline of the context; then Apply returns events.ErrUnavailable.
//
// A process may end between any two steps, after which the batch is delivered again. Rows that are already stored with
// their own version count as applied (step 3), and a batch with a marker is not counted again (steps 1 and 6). Step 7
// also runs for duplicates and in every Seal, so the next delivery settles an upload whose last writer ended before
// step 7.
//
// # Costs
//
// A row that is written costs a write unit, a person who is read by key costs a read unit, and the ledger costs about
// six write units per batch. A range costs a read unit for each 4 KB of its items, which are about 25; where it has so
// many other people that keys would cost less, the rest is read by keys. Each call of Apply costs a read unit to look
// for newer uploads. A failed condition costs a unit as well, which is why rows are read first:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithItems.html
//
// # Requirements
//
// Favorites needs a stream with new and old images. All tables need a time to live on the attribute expires.
package dynamo
