package sortedcopy

import (
	"encoding/binary"
	"errors"
)

// Types of fields and list elements in the Thrift compact protocol.
const (
	typeTrue   = 1
	typeFalse  = 2
	typeI8     = 3
	typeI16    = 4
	typeI32    = 5
	typeI64    = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeStruct = 12
)

// structure is a struct to be encoded. Its fields are in the order of their ids.
type structure []field

// field is a field of a struct. The value is false, an int32, an int64, a string, a list or a structure.
type field struct {
	id    int
	value any
}

// list is a list to be encoded. All elements have the same type.
type list []any

// appendStruct encodes s.
func appendStruct(b []byte, s structure) []byte {
	last := 0
	for _, f := range s {
		b = append(b, byte(f.id-last)<<4|typeOf(f.value)) // no struct here skips more than 15 ids
		b = appendValue(b, f.value)
		last = f.id
	}
	return append(b, 0)
}

func appendValue(b []byte, value any) []byte {
	switch v := value.(type) {
	case int32:
		return binary.AppendVarint(b, int64(v))
	case int64:
		return binary.AppendVarint(b, v)
	case string:
		return append(binary.AppendUvarint(b, uint64(len(v))), v...)
	case structure:
		return appendStruct(b, v)
	case list:
		typ := byte(typeStruct)
		if len(v) > 0 {
			typ = typeOf(v[0])
		}
		if len(v) < 15 {
			b = append(b, byte(len(v))<<4|typ)
		} else {
			b = binary.AppendUvarint(append(b, 0xf0|typ), uint64(len(v)))
		}
		for _, element := range v {
			b = appendValue(b, element)
		}
	}
	return b
}

func typeOf(value any) byte {
	switch value.(type) {
	case int32:
		return typeI32
	case int64:
		return typeI64
	case string:
		return typeBinary
	case list:
		return typeList
	case structure:
		return typeStruct
	}
	return typeFalse
}

var errThrift = errors.New("invalid Thrift data")

// decoder reads structs. After an error it returns zero values.
type decoder struct {
	b     []byte
	depth int
	err   error
}

// fail sets the first error, and drops the rest of the data.
func (d *decoder) fail(err error) {
	if d.err == nil {
		d.b, d.err = nil, err
	}
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail(errThrift)
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); len(b) > 0 {
		return b[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errThrift)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// fields reads a struct. Targets has, at the index of a field's id, where to store its value; see value.
func (d *decoder) fields(targets ...any) {
	for id := 0; d.err == nil; {
		c := d.byte()
		if c == 0 {
			return
		}
		if id += int(c >> 4); c>>4 == 0 {
			v := d.uvarint()
			id = int(int16(v>>1) ^ -int16(v&1))
		}
		if id >= 0 && id < len(targets) {
			d.value(c&15, targets[id])
		} else {
			d.value(c&15, nil)
		}
	}
}

// value reads a value and stores it, if the target has the right type: a *int64 for an integer, a *string for a text,
// and for a struct a func that calls fields. The func is called for each element if the value is a list of structs.
func (d *decoder) value(typ byte, target any) {
	if d.depth++; d.depth > 16 {
		d.fail(errThrift)
	}
	switch typ {
	case typeTrue, typeFalse: // there is no value besides the type
	case typeI8:
		d.byte()
	case typeI16, typeI32, typeI64:
		v := d.uvarint()
		if p, ok := target.(*int64); ok {
			*p = int64(v>>1) ^ -int64(v&1)
		}
	case typeDouble:
		d.bytes(8)
	case typeBinary:
		b := d.bytes(d.uvarint())
		if p, ok := target.(*string); ok {
			*p = string(b)
		}
	case typeList:
		d.list(target)
	case typeStruct:
		if f, ok := target.(func()); ok {
			f()
		} else {
			d.fields()
		}
	default: // Parquet has no sets, maps and UUIDs
		d.fail(errThrift)
	}
	d.depth--
}

func (d *decoder) list(target any) {
	c := d.byte()
	n, typ := uint64(c>>4), c&15
	if n == 15 {
		n = d.uvarint()
	}
	for ; n > 0 && d.err == nil; n-- { // ends with the data, because each element has at least 1 byte
		if typ == typeTrue || typ == typeFalse {
			d.byte()
		} else {
			d.value(typ, target)
		}
	}
}
