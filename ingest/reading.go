package ingest

import (
	"errors"
	"io"

	"github.com/flavorless/flavorless/events"
)

// Read reads a file to its end, or to where it breaks; its name tells the format. It hands on each row that is accepted and
// each that is rejected, and returns what there was: format, rows, how many were rejected, and why reading broke, if it
// did. The error is one of body, accept or reject.
func Read(body io.Reader, name string, o Options, accept func(events.Update) error, reject func(*events.Reject) error) (events.ReadSummary, error) {
	rows, err := Open(body, name, o)
	if err != nil {
		return broken(events.ReadSummary{}, err)
	}
	defer rows.Close()
	reading, err := rows.each(accept, reject)
	if err == nil && reading.Failure == nil && reading.Rows > 0 {
		reading.Failure = rows.missing()
	}
	return reading, err
}

// missing returns the failure of a file in whose rows so far a column does not occur that the metadata name; nil if there is none.
func (r *Rows) missing() *events.Failure {
	metadata, name := r.decoder.missing()
	if metadata == "" {
		return nil
	}
	bad := badMetadata("the metadata %s names the member %q, which no row has; name the members of the rows as they are written there", metadata, truncate(name, 120))
	bad.Failure.Line, bad.Failure.Column = 1, 1
	return &bad.Failure
}

// CheckColumns returns the failure of a file that does not have a column or member which the metadata name. It reads rows only
// until each has occurred, which is most often in the first, and not at all if the metadata name none. Other faults of the file are
// those that [Read] returns. The error is one of body.
func CheckColumns(body io.Reader, name string, o Options) (*events.Failure, error) {
	if !o.namesColumns() {
		return nil, nil //nolint:nilnil // no failure and no error
	}
	rows, err := Open(body, name, o)
	if err != nil {
		_, err = broken(events.ReadSummary{}, err)
		return nil, err
	}
	defer rows.Close()
	for {
		missing := rows.missing()
		if missing == nil {
			return nil, nil //nolint:nilnil // no failure and no error
		}
		_, _, err := rows.Next()
		if err == io.EOF && rows.Read() > 0 { //nolint:errorlint // Next gives it bare
			return missing, nil
		}
		if err == io.EOF { //nolint:errorlint // likewise
			return nil, nil //nolint:nilnil // likewise
		}
		if err != nil {
			_, err = broken(events.ReadSummary{}, err)
			return nil, err
		}
	}
}

func (r *Rows) each(accept func(events.Update) error, reject func(*events.Reject) error) (events.ReadSummary, error) {
	reading := events.ReadSummary{Format: r.Format().String()}
	for {
		u, bad, err := r.Next()
		if err == io.EOF { //nolint:errorlint // Next gives it bare
			return reading, nil
		}
		if err != nil {
			return broken(reading, err)
		}
		reading.Rows++
		if bad != nil {
			reading.Rejected++
			err = reject(bad)
		} else {
			err = accept(u)
		}
		if err != nil {
			return reading, err
		}
	}
}

// broken makes a file's own fault part of what was read; any other error remains one.
func broken(reading events.ReadSummary, err error) (events.ReadSummary, error) {
	var bad *FileError
	if errors.As(err, &bad) {
		reading.Failure = &bad.Failure
		return reading, nil
	}
	return reading, err
}
