package events

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// DecodeBatch decodes the body of a message of type [UpdatesType]. It ignores unknown members. An error means that
// retrying is useless. It decodes token by token, because a batch has more than a thousand rows.
func DecodeBatch(body []byte) (Batch, error) {
	d := batchDecoder{in: jsontext.NewDecoder(bytes.NewReader(body))}
	d.batch.First = -1
	if err := d.event(); err != nil {
		return Batch{}, fmt.Errorf("decoding a batch of %d bytes: %w", len(body), err)
	}
	return d.batch, nil
}

// batchDecoder holds the members decoded so far. Their order does not matter. The JSON decoder refuses duplicate
// members.
type batchDecoder struct {
	in      *jsontext.Decoder
	batch   Batch
	typ     string
	columns bool  // whether the columns were checked
	sorted  bool  // whether rows may be in another order than that of the file
	order   error // of rows that are not in file order
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
		return errors.New("data follows the event")
	}
	switch b := d.batch; {
	case d.typ != UpdatesType:
		return wrongType(d.typ, UpdatesType)
	case b.Origin == "":
		return errors.New("origin is missing")
	case !d.columns:
		return errors.New("columns is missing")
	case len(b.Rows) == 0:
		return errors.New("rows is missing or empty")
	case b.First < 0:
		return errors.New("first is missing")
	case b.First != b.Rows[0].Offset:
		return fmt.Errorf("first is %d, but the first row has offset %d", b.First, b.Rows[0].Offset)
	case !d.sorted && d.order != nil:
		return d.order
	case !d.sorted && b.Compare:
		return errors.New("compare is true, but sorted is not")
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
	case "sorted":
		return d.flag(&d.sorted)
	case "compare":
		return d.flag(&d.batch.Compare)
	case "columns":
		return d.checkColumns()
	case "rows":
		return d.rows()
	}
	return d.in.SkipValue()
}

// checkColumns refuses other columns than BatchWriter writes: a change of the columns needs a new event type.
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
		return fmt.Errorf("columns is %.80s, want %s", v, columns)
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
		if u.Offset <= last && d.order == nil { // decided at the end, because sorted may follow
			d.order = fmt.Errorf("row %d: offset is %d, want more than %d", len(d.batch.Rows)+1, u.Offset, last)
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

// object decodes an object. It calls member with each name; member must decode the value.
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

func (d *batchDecoder) flag(b *bool) error {
	t, err := d.in.ReadToken()
	if err == nil && t.Kind() != jsontext.KindTrue && t.Kind() != jsontext.KindFalse {
		err = fmt.Errorf("%s: got %s, want true or false", d.in.StackPointer(), t.Kind())
	}
	*b = err == nil && t.Bool()
	return err
}

// token reads a token and fails if it is not of kind k.
func (d *batchDecoder) token(k jsontext.Kind) (jsontext.Token, error) {
	t, err := d.in.ReadToken()
	if err == nil && t.Kind() != k {
		err = fmt.Errorf("%s: got %s, want %s", d.in.StackPointer(), t.Kind(), k)
	}
	return t, err
}

func (d *batchDecoder) offset(n *int64) error {
	v, err := d.in.ReadValue()
	if err != nil {
		return err
	}
	if *n, err = strconv.ParseInt(string(v), 10, 64); err != nil || *n < 0 || *n > MaxOffset {
		return fmt.Errorf("%s: got %.80s, want an integer from 0 to %d", d.in.StackPointer(), v, int64(MaxOffset))
	}
	return nil
}
