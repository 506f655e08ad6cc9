package events

// Code states in machine-readable form why a row was rejected or a file failed. Codes never change their meaning.
type Code string

// Codes of rejected rows. The other rows of the file are still applied.
const (
	MissingPerson    Code = "missing_person"    // no person, or only white space and invisible characters
	MissingFlavor    Code = "missing_flavor"    // no removal, and no flavor or only white space and invisible characters
	TooLong          Code = "too_long"          // more than MaxName bytes
	InvalidUTF8      Code = "invalid_utf8"      // bytes that are not UTF-8
	ControlCharacter Code = "control_character" // a control character, bidirectional override or noncharacter
	UnknownAction    Code = "unknown_action"    // an action other than set and remove
	NotAString       Code = "not_a_string"      // a JSON number, boolean, object or array instead of a string
	MalformedRow     Code = "malformed_row"     // CSV: misplaced quotes or wrong number of fields; NDJSON: not an object
)

// Codes of failed files. The rows before the failure were published and remain applied and counted.
const (
	UnknownFormat      Code = "unknown_format"      // the file name has no known suffix
	FormatMismatch     Code = "format_mismatch"     // the content does not match the suffix
	BadHeader          Code = "bad_header"          // a column is missing in the header, or occurs twice
	RecordTooLong      Code = "record_too_long"     // a record of more than 1 MiB
	UnclosedQuote      Code = "unclosed_quote"      // a quoted field without an end
	MalformedJSON      Code = "malformed_json"      // invalid JSON in an array or object
	CorruptCompression Code = "corrupt_compression" // invalid or truncated gzip or zstd data
	DecompressionBomb  Code = "decompression_bomb"  // the data expand to a suspicious multiple of their size
	ObjectVanished     Code = "object_vanished"     // the object was deleted or overwritten before it was read
	Aborted            Code = "aborted"             // on-error=abort, and a row is bad
	BadMetadata        Code = "bad_metadata"        // object metadata with an unknown value or column
	Endless            Code = "endless"             // reading was continued too often
)

// RowError states why a row is rejected.
type RowError struct {
	Code   Code
	Reason string // what is wrong and how to fix it, for the uploader
}

func (e *RowError) Error() string { return e.Reason }

// Failure states why a file could not be read to its end.
type Failure struct {
	Code   Code   `json:"code"`
	Reason string `json:"reason"`          // what is wrong and how to fix it
	Line   int64  `json:"line,omitzero"`   // 1-based line of the decompressed file at which the fault was noticed
	Column int64  `json:"column,omitzero"` // 1-based byte within the line
	Offset int64  `json:"offset"`          // byte of the decompressed file up to which rows were read
}

// Reject is a rejected row.
type Reject struct {
	Line   int64  `json:"line"`            // 1-based line of the decompressed file on which the row starts
	Column int64  `json:"column,omitzero"` // 1-based byte of the fault within the line
	Offset int64  `json:"offset"`          // byte of the decompressed file at which the row starts
	Code   Code   `json:"code"`
	Reason string `json:"reason"` // what is wrong and how to fix it
	Raw    string `json:"raw"`    // the row as in the file, cut to MaxRaw bytes, with U+FFFD for invalid UTF-8
}

// ReportEnd is the last line of a report that has reached its maximum length and omits rejected rows. It has no member
// in common with [Reject]. Complete reports have no such line.
type ReportEnd struct {
	Truncated bool   `json:"truncated"` // always true
	Omitted   int64  `json:"omitted"`   // number of omitted rows; Counts.Rejected includes them
	Message   string `json:"message"`   // why rows were omitted and what to do
}

// MaxRaw is the maximum length of Reject.Raw, in bytes.
const MaxRaw = 512
