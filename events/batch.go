package events

import (
	"bytes"
	"strconv"
)

// Batch is a sequence of consecutive accepted rows of one upload: in file order, or in the order of the upload's sorted
// copy. It is published as one [Message]. It is applied and counted once, even if the message is delivered several
// times.
type Batch struct {
	Origin Origin
	First  int64 // offset of the first row
	Rows   []Update

	// Compare means that rows which would not change the flavor need not be written. The rows are then in the order of
	// the sorted copy, and no person occurs twice. It is set only after the upload was announced as comparing.
	Compare bool
}

// UploadID returns the id of the batch's upload.
func (b Batch) UploadID() string { return b.Origin.UploadID() }

// ID returns the id of the batch: the upload id and the offset of the first row.
func (b Batch) ID() string { return batchID(b.UploadID(), b.First) }

func batchID(upload string, first int64) string {
	return upload + "/" + strconv.FormatInt(first, 10)
}

// BatchWriter encodes the batches of one upload, one after the other. Rows are encoded as arrays, which are a third
// smaller than objects; a removal has null as its flavor.
type BatchWriter struct {
	origin Origin
	buf    []byte
	first  int64
	rows   int

	sorted  bool
	compare bool

	// The last offset divided by 1000, and its digits.
	thousands     int64
	thousandsText []byte
}

// NewBatchWriter returns a writer for the upload with the given origin.
func NewBatchWriter(origin Origin) *BatchWriter { return &BatchWriter{origin: origin} }

// NewSortedBatchWriter returns a writer for rows in the order of the upload's sorted copy. Compare is that of the
// batches.
func NewSortedBatchWriter(origin Origin, compare bool) *BatchWriter {
	return &BatchWriter{origin: origin, sorted: true, compare: compare}
}

// MaxEncodedRow is the maximum number of bytes that a row adds to a message: two names of MaxName bytes in which every
// byte is escaped, the offset, and punctuation. The first row also adds the envelope of about 500 bytes.
const MaxEncodedRow = 2*2*MaxName + 32

const (
	columns  = `["offset","person","flavor"]`
	batchEnd = `]}}`
)

// Add appends a row. Its names must be in the form that CleanName returns. Unless the writer is for sorted rows, its
// offset must be greater than that of the previous row.
func (w *BatchWriter) Add(u Update) {
	b := w.buf
	if w.rows == 0 {
		w.first = u.Offset
		upload := w.origin.UploadID()
		b = appendEnvelope(b, "/flavorless/ingest", UpdatesType, batchID(upload, u.Offset), upload, w.origin.Time())
		b = append(b, `{"origin":"`...)
		b = append(b, w.origin...)
		b = append(b, `","first":`...)
		b = strconv.AppendInt(b, u.Offset, 10)
		if w.sorted {
			b = append(b, `,"sorted":true`...)
		}
		if w.compare {
			b = append(b, `,"compare":true`...)
		}
		b = append(b, `,"columns":`+columns+`,"rows":[[`...)
	} else {
		b = append(b, ",["...)
	}
	b = w.appendOffset(b, u.Offset)
	b = append(b, ',')
	b = appendString(b, u.Person)
	if u.Remove {
		b = append(b, ",null]"...)
	} else {
		b = append(b, ',')
		b = appendString(b, u.Flavor)
		b = append(b, ']')
	}
	w.buf = b
	w.rows++
}

// appendOffset appends the digits of offset. Offsets grow, so most of them share all but the last three digits with the
// previous one, and only these three have to be formatted.
func (w *BatchWriter) appendOffset(dst []byte, offset int64) []byte {
	if offset < 1000 {
		return strconv.AppendInt(dst, offset, 10)
	}
	if high := offset / 1000; high != w.thousands {
		w.thousands, w.thousandsText = high, strconv.AppendInt(w.thousandsText[:0], high, 10)
	}
	low := int(offset % 1000)
	dst = append(dst, w.thousandsText...)
	return append(dst, byte('0'+low/100), byte('0'+low/10%10), byte('0'+low%10))
}

// Rows returns the number of rows added since the last call of Message.
func (w *BatchWriter) Rows() int { return w.rows }

// Size returns the length in bytes of the body that Message would return now; 0 without rows.
func (w *BatchWriter) Size() int {
	if w.rows == 0 {
		return 0
	}
	return len(w.buf) + len(batchEnd)
}

// Message returns the rows added since the last call as a message, and begins a new batch. There must be at least one
// row.
func (w *BatchWriter) Message() Message {
	upload := w.origin.UploadID()
	w.buf = append(w.buf, batchEnd...)
	m := Message{
		ID:         batchID(upload, w.first),
		Subject:    UpdatesType,
		Attributes: map[string]string{"type": UpdatesType, "upload": upload},
		Body:       bytes.Clone(w.buf),
	}
	w.buf = w.buf[:0]
	w.rows = 0
	return m
}
