package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// ContinuationType is the type of the event that a Continuation travels in.
const ContinuationType = "flavorless.span.v1"

// Continuation is the rest of a file whose reader had to stop: the object from an offset on, and what was counted before it. It
// begins where a batch would begin, so whoever goes on cuts the batches that the first reader would have cut.
type Continuation struct {
	Object       Object `json:"object"`
	Offset       int64  `json:"offset"`       // of the row to go on with, in the decompressed file
	Rows         int64  `json:"rows"`         // read before it
	Rejected     int64  `json:"rejected"`     // of these
	Batches      int64  `json:"batches"`      // published
	RejectsBytes int64  `json:"rejectsBytes"` // length of the report of rejected rows so far

	// RejectsOmitted is the number of rejected rows that the report leaves out so far. Messages of earlier releases do not have
	// it; their reports had no limit.
	RejectsOmitted int64 `json:"rejectsOmitted,omitzero"`

	// Count is the number of messages that reading this file has taken after the first, this one included. It is 0 in
	// messages of earlier releases, which did not count.
	Count int64 `json:"continuations,omitzero"`

	// Reader, if non-nil, lets the reader start at Offset without reading what precedes it. It is nil where offsets in the file
	// are not offsets in the stored object, as in compressed files, and in messages of earlier releases; the file is then read
	// from its beginning, and rows before Offset are skipped.
	Reader *ReaderState `json:"reader,omitzero"`
}

// ReaderState is what a reader that starts in the middle of a file can't see: where it is, and what the beginning of the
// file says about the rows. It has a bounded size, whatever the file's header.
type ReaderState struct {
	Line   int64      `json:"line"`          // line of the row at the offset, from 1
	Column int64      `json:"column"`        // byte within that line at which the row begins, from 1
	CSV    *CSVState  `json:"csv,omitzero"`  // of CSV and TSV files only
	Open   JSONOpener `json:"open,omitzero"` // of JSON files only; NDJSON files have neither
}

// CSVState is what the header of a CSV or TSV file says. Columns are counted from 0.
type CSVState struct {
	Separator string `json:"separator"` // of fields: one ASCII character
	Width     int    `json:"width"`     // number of columns, at most MaxColumns
	Person    int    `json:"person"`    // index of the column
	Flavor    int    `json:"flavor"`
	Action    int    `json:"action"` // -1 without that column

	// Nameless is how many of the last columns have no name. It only makes the reason for a row that lacks those better.
	Nameless int `json:"nameless,omitzero"`
}

// JSONOpener is the bracket that a JSON file opens with: "{" if rows are members of an object, "[" if they are elements of an
// array.
type JSONOpener string

// MaxColumns is the maximum of CSVState.Width. No header has more columns, because a record has at most 1 MiB.
const MaxColumns = 1 << 20

// ID names the continuation: the upload and the offset.
func (s Continuation) ID() string { return s.Object.UploadID() + "@" + strconv.FormatInt(s.Offset, 10) }

// Message encodes the continuation for the updates topic.
func (s Continuation) Message() (Message, error) {
	upload := s.Object.UploadID()
	b := appendEnvelope(nil, "/flavorless/ingest", ContinuationType, s.ID(), upload, s.Object.Time)
	data, err := json.Marshal(s)
	if err != nil {
		return Message{}, fmt.Errorf("encoding continuation %s: %w", s.ID(), err)
	}
	return Message{
		ID: s.ID(), Subject: ContinuationType, Attributes: map[string]string{"type": ContinuationType, "upload": upload},
		Body: append(append(b, data...), '}'),
	}, nil
}

// DecodeContinuation reads the body of a message of type ContinuationType. An error means that retrying is of no use.
func DecodeContinuation(body []byte) (Continuation, error) {
	var event struct {
		Type string       `json:"type"`
		Data Continuation `json:"data"`
	}
	err := json.Unmarshal(body, &event)
	s := event.Data
	switch {
	case err != nil:
	case event.Type != ContinuationType:
		err = fmt.Errorf("its type is %.80q, not %q", event.Type, ContinuationType)
	case s.Offset <= 0 || s.Offset > MaxOffset:
		err = fmt.Errorf("offset %d is out of range", s.Offset)
	case s.Rejected < 0 || s.Rejected > s.Rows || s.Batches < 0 || s.RejectsBytes < 0 ||
		s.RejectsOmitted < 0 || s.RejectsOmitted > s.Rejected:
		err = errors.New("its counts contradict each other")
	case s.Count < 0:
		err = fmt.Errorf("continuations is %d", s.Count)
	case s.Reader != nil && s.Offset > s.Object.Size:
		err = fmt.Errorf("offset %d lies beyond the object's %d bytes", s.Offset, s.Object.Size)
	case s.Reader != nil && !s.Reader.valid(s.Offset):
		err = errors.New("the state of its reader contradicts itself")
	default:
		_, err = s.Object.Origin()
	}
	if err != nil {
		return Continuation{}, fmt.Errorf("decoding a continuation of %d bytes: %w", len(body), err)
	}
	return s, nil
}

// valid reports whether the state can be that of a reader at an offset.
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
	among := func(column int) bool { return 0 <= column && column < c.Width }
	return len(c.Separator) == 1 && c.Separator[0] < utf8.RuneSelf && !strings.Contains("\x00\"\r\n", c.Separator) &&
		c.Width <= MaxColumns && among(c.Person) && among(c.Flavor) && c.Person != c.Flavor &&
		c.Nameless >= 0 && c.Nameless <= c.Width-2 && (c.Action == -1 || among(c.Action) && c.Action != c.Person && c.Action != c.Flavor)
}
