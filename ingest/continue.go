package ingest

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
)

// seekable reports whether offsets of rows are offsets in the stored object, so that a continuation can start reading at one of
// them. It decides alone whether spans have a [events.ReaderState].
func (s *source) seekable() bool { return s.format.Compression == "" && s.charset.decoder == nil }

// State returns what [Continue] needs to start at offset, which is that of the row, accepted or rejected, that Next returned
// last. It returns nil where reading can start only at the beginning of the file.
func (r *Rows) State(offset int64) *events.ReaderState {
	if !r.src.seekable() {
		return nil
	}
	state := r.decoder.state(offset)
	return &state
}

// Continue is OpenAt for a body that begins at the offset instead of at the beginning of the file. State is what the earlier
// reader's State returned for that offset. The error is [events.ErrPermanent] if the state is that of another format.
func Continue(body io.Reader, name string, o Options, offset int64, state events.ReaderState) (*Rows, error) {
	format, err := FileTypeOf(name)
	if err != nil {
		return nil, err
	}
	src, err := newSource(body, format)
	if err != nil {
		return nil, err
	}
	columns := format.Format == "csv" || format.Format == "tsv"
	if !src.seekable() || (state.Open != "") != (format.Format == "json") || (state.CSV != nil) != columns {
		src.Close()
		return nil, fmt.Errorf("continuing %s at %d: the reader's state does not fit %s: %w", name, offset, format, events.ErrPermanent)
	}
	src.read = offset
	src.begin(offset)
	rows, in := &Rows{src: src, format: format}, bufio.NewReaderSize(src, bufferSize)
	switch {
	case state.CSV != nil:
		src.window = windowAt(offset, state)
		rows.decoder = continueCSV(src, in, o.names(), offset, *state.CSV)
	case state.Open != "":
		src.window = windowAt(offset, state)
		rows.decoder, err = continueJSON(src, in, o.names(), offset, state.Open)
	default:
		rows.decoder = &ndjsonDecoder{src: src, in: in, object: objectDecoder{names: o.names()}, at: offset, line: state.Line - 1, indent: state.Column - 1}
	}
	if err != nil {
		src.Close()
		return nil, err
	}
	return rows, nil
}

func windowAt(offset int64, state events.ReaderState) *window {
	return &window{base: offset, counted: offset, line: state.Line, start: offset - (state.Column - 1)}
}

func (w *window) state(offset int64) (s events.ReaderState) {
	s.Line, s.Column = w.place(offset)
	return s
}

func continueCSV(src *source, in *bufio.Reader, names columnNames, offset int64, c events.CSVState) *csvDecoder {
	d := &csvDecoder{src: src, in: in, names: names, at: offset}
	d.columns = columns{width: c.Width, person: c.Person, flavor: c.Flavor, action: c.Action, nameless: c.Nameless}
	d.record = csvRecord{separator: c.Separator[0], found: d.found}
	return d
}

func (d *csvDecoder) state(offset int64) events.ReaderState {
	s, c := d.src.window.state(offset), &d.columns
	s.CSV = &events.CSVState{
		Separator: string(rune(d.record.separator)), Width: c.width, Person: c.person, Flavor: c.flavor, Action: c.action, Nameless: c.nameless,
	}
	return s
}

// continueJSON reads on from a row, which becomes the first of a value that opens right before it.
func continueJSON(src *source, in *bufio.Reader, names columnNames, offset int64, open events.JSONOpener) (*jsonDecoder, error) {
	d := &jsonDecoder{src: src, buffer: in, skip: offset - 1, open: jsontext.Kind(open[0]), object: objectDecoder{names: names}}
	d.in = jsontext.NewDecoder(io.MultiReader(strings.NewReader(string(open)), in), lenient()...)
	if _, err := d.in.ReadToken(); err != nil {
		return nil, explain(d, d.explain(err))
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
