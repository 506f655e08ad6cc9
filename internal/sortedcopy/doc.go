// Package sortedcopy writes the sorted rows of an uploaded file as a Parquet file, and reads it again.
//
// The copy is the basis of everything that happens to a large upload: continuing it, comparing it with the table,
// repairing it. It is also for people: DuckDB, Athena, pandas and other programs can read it.
//
//	select person, flavor from 'accepted.parquet' where flavor is not null
//
// # Columns
//
//	person  BYTE_ARRAY, required, UTF8
//	flavor  BYTE_ARRAY, optional, UTF8; null if the row removes the person
//	offset  INT64, required; byte at which the row starts in the decompressed uploaded file
//
// The rows are sorted by group, then by the bytes of the person, and each person occurs once. The caller of [Write]
// decides what a group is. A row group of the file has rows of one group only, so it is sorted by person. It has at
// most 16,384 rows and about 2 MiB before compression.
//
// [Copy.Lookup] finds row groups by the smallest and the largest person, which are in the statistics of the column. It
// does not know the function that assigns groups, so with 16 groups it may read 16 row groups for one person.
//
// # Format
//
// The package is a codec for the small part of Parquet that this file needs. The library that implements all of
// Parquet would add 0.5 ms to the cold start of every Lambda function that contains it. The codec follows these
// sections of https://parquet.apache.org/docs/file-format/ (parquet.thrift has the numbers of all fields,
// https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift):
//
//   - File Format: "PAR1", the row groups, the FileMetaData, its length in 4 bytes, "PAR1".
//   - Metadata: FileMetaData and PageHeader in the Thrift compact protocol (thrift.go),
//     https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
//   - Data Pages: each column of a row group is one data page of version 1, and the columns follow each other without
//     gaps, so that one read gets the row group.
//   - Encodings: PLAIN for all values; RLE for definition levels, which tell which flavors are null. Levels are always
//     written as repeated runs, never as bit-packed runs.
//   - Compression: ZSTD for all pages.
//   - Checksumming: each page header has the CRC-32 of the compressed page, and [Copy.Rows] verifies it.
//   - Statistics and sorting columns: min_value and max_value of persons, the number of nulls, and that each row group
//     is sorted by person.
//   - Key-value metadata: whatever the caller of [Write] wants to keep with the rows.
//
// [Open] reads only files that have this form. It refuses other Parquet files, whatever they contain.
//
// # Files
//
//	write.go   Write
//	open.go    Open: the footer
//	rows.go    Copy.Rows and Copy.Lookup: row groups and pages
//	thrift.go  the Thrift compact protocol
package sortedcopy
