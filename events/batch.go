package events

import (
	"bytes"
	"strconv"
)

// Batch is a run of consecutive accepted rows of one upload, in file order. It travels as one Message and is applied
// and counted once, however often it is delivered.
type Batch struct {
	Origin Origin // of the upload
	First  int64  // offset of the first row
	Rows   []Update
}

// Upload gives the id of the upload that the batch is part of.
func (b Batch) Upload() string { return b.Origin.Upload() }

// ID names the batch: the upload and the offset of its first row.
func (b Batch) ID() string { return batchID(b.Upload(), b.First) }

func batchID(upload string, first int64) string {
	return upload + "/" + strconv.FormatInt(first, 10)
}

// BatchWriter encodes the batches of one upload, one after the other, straight from the rows. Rows travel as arrays under
// named columns, a third smaller than as objects; a removal has null for its flavor.
type BatchWriter struct {
	origin Origin
	buf    []byte
	first  int64
	rows   int

	thousands     int64 // of the last offset
	thousandsText []byte
}

// NewBatchWriter returns a writer for the upload of that origin.
func NewBatchWriter(origin Origin) *BatchWriter { return &BatchWriter{origin: origin} }

// MaxRow is the most by which a row can make a message grow, in bytes: two names of MaxName bytes, every one of them
// escaped, an offset and the punctuation. (The first row brings the envelope as well: some 500 bytes.)
const MaxRow = 2*2*MaxName + 32

// How the data of a batch goes on behind its first offset, and how the event ends.
const (
	columns  = `["offset","person","flavor"]`
	batchEnd = `]}}`
)

// Add appends a row. Its names are as CleanName gives them, and its offset is greater than that of the row before.
func (w *BatchWriter) Add(u Update) {
	b := w.buf
	if w.rows == 0 {
		w.first = u.Offset
		upload := w.origin.Upload()
		b = appendEnvelope(b, "/flavorless/ingest", UpdatesType, batchID(upload, u.Offset), upload, w.origin.Time())
		b = append(b, `{"origin":"`...)
		b = append(b, w.origin...)
		b = append(b, `","first":`...)
		b = strconv.AppendInt(b, u.Offset, 10)
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

// appendOffset appends an offset. Those of neighbours have all but the last digits in common.
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

// Rows is the number of rows added since the last Message.
func (w *BatchWriter) Rows() int { return w.rows }

// Size is how long the body of the message would be if it ended here, in bytes; 0 without rows.
func (w *BatchWriter) Size() int {
	if w.rows == 0 {
		return 0
	}
	return len(w.buf) + len(batchEnd)
}

// Message ends the batch and returns it. The writer is then ready for the next one. It needs at least one row.
func (w *BatchWriter) Message() Message {
	upload := w.origin.Upload()
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
