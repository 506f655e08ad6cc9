package extsort

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/flavorless/flavorless/events"
)

const (
	maxRecord   = 1 + 4*binary.MaxVarintLen16 + 2*events.MaxName + binary.MaxVarintLen64
	writeBuffer = 64 << 10
)

// run is a file of sorted rows, at most one for each person.
type run struct {
	path string
	size int64
}

// writeRun writes rows to a new file. If it fails, it removes the file.
func writeRun(path string, limit int64, rows iter.Seq2[*row, error]) (r run, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return run{}, err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			_ = os.Remove(path) // Close removes the whole folder
		}
	}()
	out := &limitWriter{w: f, left: limit}
	buffered := bufio.NewWriterSize(out, writeBuffer)
	var previous, record []byte
	for x, err := range rows {
		if err != nil {
			return run{}, err
		}
		n := shared(previous, x.person)
		record = append(record[:0], x.group)
		record = binary.AppendUvarint(record, uint64(n))
		record = binary.AppendUvarint(record, uint64(len(x.person)-n))
		record = append(record, x.person[n:]...)
		record = binary.AppendUvarint(record, uint64(len(x.flavor)))
		record = append(record, x.flavor...)
		record = binary.AppendUvarint(record, uint64(x.offset))
		if _, err := buffered.Write(record); err != nil {
			return run{}, err
		}
		previous = append(previous[:0], x.person...)
	}
	err = buffered.Flush()
	return run{path, limit - out.left}, err
}

// limitWriter refuses to write more bytes than are left.
type limitWriter struct {
	w    io.Writer
	left int64
}

func (l *limitWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, ErrDiskLimit
	}
	n, err := l.w.Write(p)
	l.left -= int64(n)
	return n, err
}

// runReader reads a run. Its row is the current one.
type runReader struct {
	row
	file *os.File
	in   *bufio.Reader
	done bool // there is no current row
}

func openRun(path string, buffer int) (*runReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &runReader{file: f, in: bufio.NewReaderSize(f, max(buffer, maxRecord))}, nil
}

// next reads the next row, which is valid until the next call.
func (r *runReader) next() error {
	b, err := r.in.Peek(maxRecord)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(b) == 0 {
		r.done = true
		return nil
	}
	d := decoder{rest: b[1:]}
	r.group = b[0]
	r.person = append(r.person[:d.length(len(r.person))], d.bytes()...)
	r.flavor = d.bytes()
	r.offset = int64(d.uvarint())
	if d.damaged {
		return fmt.Errorf("temporary file %s is damaged", r.file.Name())
	}
	_, err = r.in.Discard(len(b) - len(d.rest)) // keeps the bytes that flavor refers to until the next Peek
	return err
}

// decoder reads the fields of a record.
type decoder struct {
	rest    []byte
	damaged bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.damaged = true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// length returns a number that must not be greater than maximum.
func (d *decoder) length(maximum int) int {
	n := d.uvarint()
	if n > uint64(maximum) {
		d.damaged = true
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.length(events.MaxName)
	if n > len(d.rest) {
		d.damaged = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}
