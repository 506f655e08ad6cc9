package events

// Code says in a word why a row was rejected or a file failed. Codes are part of the contract: they never change their
// meaning.
type Code string

// Why a single row is rejected; the rows around it go on.
const (
	MissingPerson    Code = "missing_person"    // no person, or only white space and invisible characters
	MissingFlavor    Code = "missing_flavor"    // no flavor, or only white space and invisible characters, and no removal
	TooLong          Code = "too_long"          // over MaxName bytes
	InvalidUTF8      Code = "invalid_utf8"      // bytes that are not UTF-8
	ControlCharacter Code = "control_character" // a character inside that is no text: a control, a bidirectional override, a noncharacter
	UnknownAction    Code = "unknown_action"    // an action other than set and remove
	NotAString       Code = "not_a_string"      // a JSON number, boolean, object or array where a string belongs
	MalformedRow     Code = "malformed_row"     // a CSV row with stray quotes or the wrong number of fields, an NDJSON line that is not an object
)

// Why a whole file fails; what was published before the break stays and is counted.
const (
	UnknownFormat      Code = "unknown_format"      // no known suffix
	FormatMismatch     Code = "format_mismatch"     // the content is not what the suffix says
	BadHeader          Code = "bad_header"          // the columns person and flavor are missing or named twice
	RecordTooLong      Code = "record_too_long"     // over 1 MiB in one record
	UnclosedQuote      Code = "unclosed_quote"      // a quoted field that never ends
	MalformedJSON      Code = "malformed_json"      // broken JSON inside an array or object
	CorruptCompression Code = "corrupt_compression" // gzip or zstd that can't be read to its end
	DecompressionBomb  Code = "decompression_bomb"  // expands beyond all measure
	ObjectVanished     Code = "object_vanished"     // deleted or overwritten before it was read
	Aborted            Code = "aborted"             // on-error=abort, and there was an error
	BadMetadata        Code = "bad_metadata"        // object metadata with an unknown value, or naming a column that the file does not have
	Endless            Code = "endless"             // reading was continued too often without reaching the end
)

// RowError says why a row was rejected, in the uploader's words.
type RowError struct {
	Code   Code
	Reason string // what is wrong, and how to mend it
}

func (e *RowError) Error() string { return e.Reason }

// Failure says why a file could not be read to its end.
type Failure struct {
	Code   Code   `json:"code"`
	Reason string `json:"reason"`          // what is wrong, and how to mend it
	Line   int64  `json:"line,omitzero"`   // 1-based line of the decompressed file where it was noticed
	Column int64  `json:"column,omitzero"` // 1-based byte within the line
	Offset int64  `json:"offset"`          // byte of the decompressed file up to which rows were read
}

// Reject is a row that was not accepted.
type Reject struct {
	Line   int64  `json:"line"`            // 1-based line of the decompressed file on which the row starts
	Column int64  `json:"column,omitzero"` // 1-based byte within the line at which the fault lies
	Offset int64  `json:"offset"`          // byte of the decompressed file at which the row starts
	Code   Code   `json:"code"`
	Reason string `json:"reason"` // what is wrong, and how to mend it
	Raw    string `json:"raw"`    // the row as it stands in the file, at most MaxRaw bytes, invalid UTF-8 replaced
}

// ReportEnd is the last line of a report that leaves out rejected rows because it has reached its maximum length. It has no
// member in common with [Reject]. Complete reports do not have such a line.
type ReportEnd struct {
	Truncated bool   `json:"truncated"` // always true
	Omitted   int64  `json:"omitted"`   // rejected rows that are not in the report; they are counted in Counts.Rejected
	Message   string `json:"message"`   // why rows were left out, and what the uploader can do
}

// MaxRaw is how much of a rejected row is kept, in bytes.
const MaxRaw = 512
