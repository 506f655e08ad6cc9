package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
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

// BatchWriter encodes the batches of one upload, one after the other, straight from the rows.
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

// MaxRow is the most that Add can make a message grow, in bytes: two names of MaxName bytes, every one of them escaped,
// an offset and the punctuation.
const MaxRow = 2*2*MaxName + 32

const batchEnd = `]}}`

// Add appends a row.
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
		b = append(b, `,"columns":["offset","person","flavor"],"rows":[[`...)
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

// DecodeBatch reads the body of a message of type UpdatesType. Members and columns that it doesn't know are skipped.
// An error means that the message can never be applied: retrying is of no use.
func DecodeBatch(body []byte) (Batch, error) {
	d := batchDecoder{in: jsontext.NewDecoder(bytes.NewReader(body))}
	if err := d.envelope(); err != nil {
		return Batch{}, fmt.Errorf("decoding a batch of %d bytes: %w", len(body), err)
	}
	return d.batch, nil
}

type batchDecoder struct {
	in       *jsontext.Decoder
	batch    Batch
	kind     string
	seenRows bool
}

func (d *batchDecoder) envelope() error {
	err := d.object(func(name string) error {
		switch name {
		case "type":
			return d.str(&d.kind)
		case "data":
			return d.object(d.data)
		}
		return d.in.SkipValue()
	})
	if err != nil {
		return err
	}
	if _, err := d.in.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the event")
	}
	switch {
	case d.kind != UpdatesType:
		return fmt.Errorf("its type is %q, not %q", d.kind, UpdatesType)
	case d.batch.Origin == "":
		return errors.New("it has no origin")
	case !d.seenRows || len(d.batch.Rows) == 0:
		return errors.New("it has no rows")
	case d.batch.First != d.batch.Rows[0].Offset:
		return fmt.Errorf("its first row is at %d, not at %d", d.batch.Rows[0].Offset, d.batch.First)
	}
	return nil
}

func (d *batchDecoder) data(name string) error {
	switch name {
	case "origin":
		var s string
		if err := d.str(&s); err != nil {
			return err
		}
		var err error
		d.batch.Origin, err = ParseOrigin(s)
		return err
	case "first":
		return d.integer(&d.batch.First)
	case "columns":
		return d.columns()
	case "rows":
		d.seenRows = true
		return d.rows()
	}
	return d.in.SkipValue()
}

// columns insists on the columns that this version writes, in their order: the one producer is BatchWriter, and a
// reordering would be a new type.
func (d *batchDecoder) columns() error {
	v, err := d.in.ReadValue()
	if err != nil {
		return err
	}
	if err := v.Compact(); err != nil {
		return err
	}
	if got, want := string(v), `["offset","person","flavor"]`; got != want {
		return fmt.Errorf("its columns are %s, not %s", got, want)
	}
	return nil
}

func (d *batchDecoder) rows() error {
	if err := d.expect(jsontext.KindBeginArray); err != nil {
		return err
	}
	last := int64(-1)
	for d.in.PeekKind() == jsontext.KindBeginArray {
		u := Update{}
		if err := d.expect(jsontext.KindBeginArray); err != nil {
			return err
		}
		if err := d.integer(&u.Offset); err != nil {
			return err
		}
		if u.Offset <= last {
			return fmt.Errorf("row %d: offset %d does not come after %d", len(d.batch.Rows), u.Offset, last)
		}
		last = u.Offset
		if err := d.name(&u.Person, "person", MissingPerson); err != nil {
			return err
		}
		if d.in.PeekKind() == jsontext.KindNull {
			u.Remove = true
			if _, err := d.in.ReadToken(); err != nil {
				return err
			}
		} else if err := d.name(&u.Flavor, "flavor", MissingFlavor); err != nil {
			return err
		}
		if err := d.expect(jsontext.KindEndArray); err != nil {
			return err
		}
		d.batch.Rows = append(d.batch.Rows, u)
	}
	return d.expect(jsontext.KindEndArray)
}

// name reads a name and checks that it is what CleanName gives: the topic is a trust boundary, too.
func (d *batchDecoder) name(s *string, field string, missing Code) error {
	if err := d.str(s); err != nil {
		return err
	}
	clean, bad := CleanName(*s, field, missing)
	if bad != nil {
		return fmt.Errorf("row %d: %w", len(d.batch.Rows), bad)
	}
	if clean != *s {
		return fmt.Errorf("row %d: %s %q is not normalised", len(d.batch.Rows), field, *s)
	}
	return nil
}

// object reads an object, calling member with each name; member has to read the value.
func (d *batchDecoder) object(member func(name string) error) error {
	if err := d.expect(jsontext.KindBeginObject); err != nil {
		return err
	}
	for d.in.PeekKind() == jsontext.KindString {
		t, err := d.in.ReadToken()
		if err != nil {
			return err
		}
		if err := member(t.String()); err != nil {
			return err
		}
	}
	return d.expect(jsontext.KindEndObject)
}

func (d *batchDecoder) expect(k jsontext.Kind) error {
	t, err := d.in.ReadToken()
	if err == nil && t.Kind() != k {
		err = fmt.Errorf("%s where %s belongs, at %s", t.Kind(), k, d.in.StackPointer())
	}
	return err
}

func (d *batchDecoder) str(s *string) error {
	t, err := d.in.ReadToken()
	if err == nil && t.Kind() != jsontext.KindString {
		err = fmt.Errorf("%s where a string belongs, at %s", t.Kind(), d.in.StackPointer())
	}
	if err == nil {
		*s = t.String()
	}
	return err
}

func (d *batchDecoder) integer(n *int64) error {
	v, err := d.in.ReadValue()
	if err == nil {
		*n, err = strconv.ParseInt(string(v), 10, 64)
	}
	if err == nil && (*n < 0 || *n > MaxOffset) {
		err = fmt.Errorf("offset %d is out of range", *n)
	}
	return err
}
