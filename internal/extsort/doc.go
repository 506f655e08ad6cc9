// Package extsort sorts the accepted rows of one file in bounded memory, and keeps only the last row of each person.
//
//	s, err := extsort.New(extsort.Config{Dir: dir})
//	defer s.Close()
//	s.Add(update)                         // for each row, in any order
//	for u, err := range s.Rows(ctx) { … } // sorted by group, then by person
//
// It is an external merge sort. Add copies rows into memory (arena.go). When the memory is full, the rows are sorted
// and written to a temporary file, which is called a run (run.go). Rows merges the runs (merge.go). If all rows fit
// into memory, there are no runs and no files. If there are more than 128 runs, Rows first merges some of them into
// longer runs, so that the buffers and the open files of a merge are bounded too.
//
// # Order
//
// Rows are sorted by group (0 to 255), then by the bytes of the person. A group is whatever the table prefers, such as
// a shard. Of the rows of one person the sorter keeps the one with the greatest offset. It drops the others as early
// as it can: within a run, and again in each merge.
//
// # Format of a run
//
// A run is a sequence of records without a header. Sorted neighbors share the beginning of their persons, so a record
// contains only the rest of its person. That makes the runs of a typical export about a third smaller.
//
//	byte     group
//	uvarint  number of bytes that this person shares with the person of the previous record
//	uvarint  number of the other bytes of the person, then these bytes
//	uvarint  number of bytes of the flavor, then the flavor; 0 means that the row removes the person
//	uvarint  offset of the row in the uploaded file
//
// Uvarint is the encoding of [encoding/binary.AppendUvarint]. Runs are never read by another process, so the format
// has no version and may change.
package extsort
