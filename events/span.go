package events

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
)

// SpanType is the type of the event that a Span travels in.
const SpanType = "flavorless.span.v1"

// Span is the rest of a file whose reader had to stop: the object from an offset on, and what was counted before it. It
// begins where a batch would begin, so whoever goes on cuts the batches that the first reader would have cut.
type Span struct {
	Object       Object `json:"object"`
	Offset       int64  `json:"offset"`       // of the row to go on with, in the decompressed file
	Rows         int64  `json:"rows"`         // read before it
	Rejected     int64  `json:"rejected"`     // of these
	Batches      int64  `json:"batches"`      // published
	RejectsBytes int64  `json:"rejectsBytes"` // length of the report of rejected rows so far

	// RejectsOmitted is the number of rejected rows that the report leaves out so far. Messages of earlier releases do not have
	// it; their reports had no limit.
	RejectsOmitted int64 `json:"rejectsOmitted,omitzero"`
}

// ID names the span: the upload and the offset.
func (s Span) ID() string { return s.Object.UploadID() + "@" + strconv.FormatInt(s.Offset, 10) }

// Message encodes the span for the updates topic.
func (s Span) Message() (Message, error) {
	upload := s.Object.UploadID()
	b := appendEnvelope(nil, "/flavorless/ingest", SpanType, s.ID(), upload, s.Object.Time)
	data, err := json.Marshal(s)
	if err != nil {
		return Message{}, fmt.Errorf("encoding span %s: %w", s.ID(), err)
	}
	return Message{
		ID: s.ID(), Subject: SpanType, Attributes: map[string]string{"type": SpanType, "upload": upload},
		Body: append(append(b, data...), '}'),
	}, nil
}

// DecodeSpan reads the body of a message of type SpanType. An error means that retrying is of no use.
func DecodeSpan(body []byte) (Span, error) {
	var event struct {
		Type string `json:"type"`
		Data Span   `json:"data"`
	}
	err := json.Unmarshal(body, &event)
	s := event.Data
	switch {
	case err != nil:
	case event.Type != SpanType:
		err = fmt.Errorf("its type is %.80q, not %q", event.Type, SpanType)
	case s.Offset <= 0 || s.Offset > MaxOffset:
		err = fmt.Errorf("offset %d is out of range", s.Offset)
	case s.Rejected < 0 || s.Rejected > s.Rows || s.Batches < 0 || s.RejectsBytes < 0 ||
		s.RejectsOmitted < 0 || s.RejectsOmitted > s.Rejected:
		err = errors.New("its counts contradict each other")
	default:
		_, err = s.Object.Origin()
	}
	if err != nil {
		return Span{}, fmt.Errorf("decoding a span of %d bytes: %w", len(body), err)
	}
	return s, nil
}
