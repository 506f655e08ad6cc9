package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// DecodeBatch reads the body of a message of type UpdatesType. Members that it doesn't know are skipped; the columns are
// those of this version, in their order. An error means that the message can never be applied: retrying is of no use.
//
// It reads token by token, straight into the rows: a batch has a thousand of them and more.
func DecodeBatch(body []byte) (Batch, error) {
	d := batchDecoder{in: jsontext.NewDecoder(bytes.NewReader(body))}
	d.batch.First = -1
	if err := d.event(); err != nil {
		return Batch{}, fmt.Errorf("decoding a batch of %d bytes: %w", len(body), err)
	}
	return d.batch, nil
}

// batchDecoder holds what has been read so far. Members may come in any order; the JSON decoder refuses a name that comes
// twice in one object.
type batchDecoder struct {
	in      *jsontext.Decoder
	batch   Batch
	typ     string
	columns bool // they have been read
}

func (d *batchDecoder) event() error {
	err := d.object(func(name string) error {
		switch name {
		case "type":
			return d.text(&d.typ)
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
	switch b := d.batch; {
	case d.typ != UpdatesType:
		return fmt.Errorf("its type is %.80q, not %q", d.typ, UpdatesType)
	case b.Origin == "":
		return errors.New("it has no origin")
	case !d.columns:
		return errors.New("it has no columns")
	case len(b.Rows) == 0:
		return errors.New("it has no rows")
	case b.First < 0:
		return errors.New("it does not say where its first row is")
	case b.First != b.Rows[0].Offset:
		return fmt.Errorf("its first row is at %d, not at %d", b.Rows[0].Offset, b.First)
	}
	return nil
}

func (d *batchDecoder) data(name string) error {
	switch name {
	case "origin":
		var s string
		err := d.text(&s)
		if err == nil {
			d.batch.Origin, err = ParseOrigin(s)
		}
		return err
	case "first":
		return d.offset(&d.batch.First)
	case "columns":
		return d.checkColumns()
	case "rows":
		return d.rows()
	}
	return d.in.SkipValue()
}

// checkColumns insists on the columns that BatchWriter writes, in their order: it is the one producer, and another order
// would be another type of event.
func (d *batchDecoder) checkColumns() error {
	d.columns = true
	v, err := d.in.ReadValue()
	if err != nil {
		return err
	}
	if err := v.Compact(); err != nil {
		return err
	}
	if string(v) != columns {
		return fmt.Errorf("its columns are %.80s, not %s", v, columns)
	}
	return nil
}

func (d *batchDecoder) rows() error {
	if err := d.expect(jsontext.KindBeginArray); err != nil {
		return err
	}
	for last := int64(-1); d.in.PeekKind() == jsontext.KindBeginArray; {
		u, err := d.row()
		if err != nil {
			return fmt.Errorf("row %d: %w", len(d.batch.Rows)+1, err)
		}
		if u.Offset <= last {
			return fmt.Errorf("row %d: offset %d does not come after %d", len(d.batch.Rows)+1, u.Offset, last)
		}
		last = u.Offset
		d.batch.Rows = append(d.batch.Rows, u)
	}
	return d.expect(jsontext.KindEndArray)
}

func (d *batchDecoder) row() (u Update, err error) {
	if err := d.expect(jsontext.KindBeginArray); err != nil {
		return u, err
	}
	if err := d.offset(&u.Offset); err != nil {
		return u, err
	}
	if err := d.name(&u.Person, "person", MissingPerson); err != nil {
		return u, err
	}
	if u.Remove = d.in.PeekKind() == jsontext.KindNull; u.Remove {
		err = d.in.SkipValue()
	} else {
		err = d.name(&u.Flavor, "flavor", MissingFlavor)
	}
	if err != nil {
		return u, err
	}
	return u, d.expect(jsontext.KindEndArray)
}

func (d *batchDecoder) name(s *string, field string, missing Code) error {
	if err := d.text(s); err != nil {
		return err
	}
	return checkName(*s, field, missing)
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
	_, err := d.token(k)
	return err
}

func (d *batchDecoder) text(s *string) error {
	t, err := d.token(jsontext.KindString)
	if err == nil {
		*s = t.String()
	}
	return err
}

// token reads a token of that kind.
func (d *batchDecoder) token(k jsontext.Kind) (jsontext.Token, error) {
	t, err := d.in.ReadToken()
	if err == nil && t.Kind() != k {
		err = fmt.Errorf("at %s there is %s instead of %s", d.in.StackPointer(), t.Kind(), k)
	}
	return t, err
}

func (d *batchDecoder) offset(n *int64) error {
	v, err := d.in.ReadValue()
	if err != nil {
		return err
	}
	if *n, err = strconv.ParseInt(string(v), 10, 64); err != nil || *n < 0 || *n > MaxOffset {
		return fmt.Errorf("at %s there is %.80s instead of an offset, a whole number from 0 to %d", d.in.StackPointer(), v, int64(MaxOffset))
	}
	return nil
}
