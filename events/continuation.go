package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// ContinuationType is the type of the event that carries a Continuation, which was called a span at first.
const ContinuationType = "flavorless.span.v1"

// Continuation is the rest of a file whose reading was interrupted: the object, the offset to continue at, and the
// counts up to there. The offset is where a batch begins, so the following batches are the same as without the
// interruption.
type Continuation struct {
	Object       Object `json:"object"`
	Offset       int64  `json:"offset"`       // of the next row, in the decompressed file
	Rows         int64  `json:"rows"`         // rows before Offset
	Rejected     int64  `json:"rejected"`     // rejected rows among them
	Batches      int64  `json:"batches"`      // batches published so far
	RejectsBytes int64  `json:"rejectsBytes"` // length of the report of rejected rows so far

	// RejectsOmitted is the number of rejected rows that the report leaves out so far. It is 0 in messages of earlier
	// releases, whose reports had no limit.
	RejectsOmitted int64 `json:"rejectsOmitted,omitzero"`

	// Count is the number of continuations of the file so far, including this one. It is 0 in messages of earlier
	// releases.
	Count int64 `json:"continuations,omitzero"`

	// Positions, if there are any, mean that the upload is published from its sorted copy: they are the row numbers, from
	// 0, at which publishing continues, one for each group of rows. Offset is then the number of rows of the copy that
	// were published, and the copy has the other counts.
	Positions []int64 `json:"positions,omitzero"`

	// Reader, if non-nil, lets the reader start at Offset. It is nil if offsets in the file are not offsets in the
	// stored object, as in compressed files, and in messages of earlier releases: the reader then skips the rows before
	// Offset.
	Reader *ReaderState `json:"reader,omitzero"`
}

// ReaderState is what a reader needs to know to start in the middle of a file: its position, and how the beginning of
// the file describes the rows. Its size is bounded.
type ReaderState struct {
	Line   int64      `json:"line"`          // 1-based line on which the row at the offset begins
	Column int64      `json:"column"`        // 1-based byte within that line
	CSV    *CSVState  `json:"csv,omitzero"`  // for CSV and TSV files
	Open   JSONOpener `json:"open,omitzero"` // for JSON files; NDJSON files need neither
}

// CSVState describes the header of a CSV or TSV file. Columns are counted from 0.
type CSVState struct {
	Separator string `json:"separator"` // of fields; one ASCII character
	Width     int    `json:"width"`     // number of columns, at most MaxColumns
	Person    int    `json:"person"`    // index of the column
	Flavor    int    `json:"flavor"`
	Action    int    `json:"action"` // -1 if the file has no such column

	// Nameless is the number of trailing columns without a name. It only improves the reason for rows that lack these
	// columns.
	Nameless int `json:"nameless,omitzero"`
}

// JSONOpener is the opening bracket of a JSON file: "{" if rows are members of an object, "[" if they are elements of
// an array.
type JSONOpener string

// MaxGroups is the maximum number of groups in a sorted copy.
const MaxGroups = 256

// MaxColumns is the maximum of CSVState.Width. A header has at most this many bytes, and therefore no more columns.
const MaxColumns = 1 << 20

// Sorted reports whether the upload is published from its sorted copy.
func (c Continuation) Sorted() bool { return len(c.Positions) > 0 }

// ID returns the id of the continuation: the upload id and the offset.
func (c Continuation) ID() string { return c.Object.UploadID() + "@" + strconv.FormatInt(c.Offset, 10) }

// Message encodes the continuation.
func (c Continuation) Message() (Message, error) {
	upload := c.Object.UploadID()
	b := appendEnvelope(nil, "/flavorless/ingest", ContinuationType, c.ID(), upload, c.Object.Time)
	data, err := json.Marshal(c)
	if err != nil {
		return Message{}, fmt.Errorf("encoding continuation %s: %w", c.ID(), err)
	}
	return Message{
		ID: c.ID(), Subject: ContinuationType, Attributes: map[string]string{"type": ContinuationType, "upload": upload},
		Body: append(append(b, data...), '}'),
	}, nil
}

// DecodeContinuation decodes the body of a message of type [ContinuationType]. An error means that retrying is useless.
func DecodeContinuation(body []byte) (Continuation, error) {
	var event struct {
		Type string       `json:"type"`
		Data Continuation `json:"data"`
	}
	err := json.Unmarshal(body, &event)
	c := event.Data
	switch {
	case err != nil:
	case event.Type != ContinuationType:
		err = wrongType(event.Type, ContinuationType)
	case c.Offset <= 0 || c.Offset > MaxOffset:
		err = fmt.Errorf("offset is %d, want 1 to %d", c.Offset, int64(MaxOffset))
	case c.Rejected < 0 || c.Rejected > c.Rows || c.Batches < 0 || c.RejectsBytes < 0 ||
		c.RejectsOmitted < 0 || c.RejectsOmitted > c.Rejected:
		err = errors.New("the counts are inconsistent")
	case c.Sorted() && (c.Reader != nil || c.Rows != 0 || c.RejectsBytes != 0):
		err = errors.New("the rest of a sorted copy has counts of the file")
	case len(c.Positions) > MaxGroups:
		err = fmt.Errorf("the rest of a sorted copy has %d positions, want at most %d", len(c.Positions), MaxGroups)
	case c.Count < 0:
		err = fmt.Errorf("continuations is %d, want at least 0", c.Count)
	case c.Reader != nil && c.Offset > c.Object.Size:
		err = fmt.Errorf("offset is %d, but the object has only %d bytes", c.Offset, c.Object.Size)
	case c.Reader != nil && !c.Reader.valid(c.Offset):
		err = errors.New("the reader's state is inconsistent")
	default:
		_, err = c.Object.Origin()
	}
	if err != nil {
		return Continuation{}, fmt.Errorf("decoding a continuation of %d bytes: %w", len(body), err)
	}
	return c, nil
}

// valid reports whether a reader at the offset can have this state.
func (r ReaderState) valid(offset int64) bool {
	switch {
	case r.Line < 1 || r.Column < 1 || r.Line-1 > offset || r.Column-1 > offset-(r.Line-1):
		return false
	case r.CSV != nil:
		return r.Open == "" && r.CSV.valid()
	}
	return r.Open == "" || r.Open == "{" || r.Open == "["
}

func (c CSVState) valid() bool {
	inRow := func(column int) bool { return 0 <= column && column < c.Width }
	return len(c.Separator) == 1 && c.Separator[0] < utf8.RuneSelf && !strings.Contains("\x00\"\r\n", c.Separator) &&
		c.Width <= MaxColumns && inRow(c.Person) && inRow(c.Flavor) && c.Person != c.Flavor &&
		(c.Action == -1 || inRow(c.Action) && c.Action != c.Person && c.Action != c.Flavor) &&
		c.Nameless >= 0 && c.Nameless <= c.Width-2
}
