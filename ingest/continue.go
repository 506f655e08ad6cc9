package ingest

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// seekable reports whether offsets of rows are offsets in the stored object, so that a continuation can start reading
// there. Only then do continuations have an [events.ReaderState].
func (s *source) seekable() bool { return s.fileType.Compression == "" && !s.converted() }

// State returns what [Continue] needs to start at offset, which must be that of the last row that Next returned. It
// returns nil if reading can start only at the beginning of the file.
func (r *Rows) State(offset int64) *events.ReaderState {
	if !r.src.seekable() {
		return nil
	}
	state := r.decoder.state(offset)
	return &state
}

// Continue is like OpenAt, but body begins at the offset. State is the result of the earlier reader's State for that
// offset. The error is [events.ErrPermanent] if the state is for another format.
func Continue(body io.Reader, name string, o Options, offset int64, state events.ReaderState) (*Rows, error) {
	return open(body, name, func(src *source) (decoder, error) {
		format := src.fileType.Format
		if !src.seekable() || (state.Open != "") != (format == JSON) || (state.CSV != nil) != format.hasColumns() {
			return nil, fmt.Errorf("continuing %s at %d: the reader's state is not for %s: %w",
				name, offset, src.fileType, events.ErrPermanent)
		}
		src.read = offset
		src.begin(offset)
		in := bufio.NewReaderSize(src, bufferSize)
		switch {
		case state.CSV != nil:
			src.window = windowAt(offset, state)
			return continueCSV(src, in, o.names(), offset, *state.CSV), nil
		case state.Open != "":
			src.window = windowAt(offset, state)
			return continueJSON(src, in, o.names(), offset, state.Open)
		}
		return &ndjsonDecoder{
			src: src, in: in, object: newObjectDecoder(src, o.names()), at: offset,
			line: state.Line - 1, indent: state.Column - 1,
		}, nil
	})
}

// windowAt returns the window of a reader that starts at offset in the given state.
func windowAt(offset int64, state events.ReaderState) *window {
	return &window{base: offset, counted: offset, line: state.Line, start: offset - (state.Column - 1)}
}

func (w *window) state(offset int64) (s events.ReaderState) {
	s.Line, s.Column = w.position(offset)
	return s
}

func continueCSV(src *source, in *bufio.Reader, names columnNames, offset int64, c events.CSVState) *csvDecoder {
	d := &csvDecoder{src: src, in: in, names: names, at: offset}
	d.columns = columns{index: [3]int{c.Person, c.Flavor, c.Action}, width: c.Width, nameless: c.Nameless}
	d.record = csvRecord{separator: c.Separator[0], onField: d.setField}
	return d
}

func (d *csvDecoder) state(offset int64) events.ReaderState {
	s, c := d.src.window.state(offset), &d.columns
	s.CSV = &events.CSVState{
		Separator: string(rune(d.record.separator)), Width: c.width,
		Person: c.index[person], Flavor: c.index[flavor], Action: c.index[action], Nameless: c.nameless,
	}
	return s
}

// continueJSON returns a decoder that reads an opening bracket and then the rest of the file.
func continueJSON(
	src *source, in *bufio.Reader, names columnNames, offset int64, open events.JSONOpener,
) (decoder, error) {
	d := &jsonDecoder{
		src: src, buffer: in, skip: offset - 1, open: jsontext.Kind(open[0]), object: newObjectDecoder(src, names),
	}
	d.in = jsontext.NewDecoder(io.MultiReader(strings.NewReader(string(open)), in), lenient()...)
	if _, err := d.in.ReadToken(); err != nil {
		return nil, withPosition(d, d.explain(err))
	}
	return d, nil
}

func (d *jsonDecoder) state(offset int64) events.ReaderState {
	s := d.src.window.state(offset)
	s.Open = events.JSONOpener(d.open.String())
	return s
}

func (d *ndjsonDecoder) state(int64) events.ReaderState {
	return events.ReaderState{Line: d.line, Column: d.column}
}
