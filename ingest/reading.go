package ingest

import (
	"errors"
	"io"

	"github.com/flavorless/flavorless/events"
)

// Read reads a file to its end or to a failure. Its name determines the format. Read calls accept with each accepted
// row and reject with each rejected one, and returns a summary. If the file can't be read to its end, the summary has a
// Failure. The error is one of body, accept or reject.
func Read(
	body io.Reader, name string, o Options, accept func(events.Update) error, reject func(*events.Reject) error,
) (events.ReadSummary, error) {
	rows, err := Open(body, name, o)
	if err != nil {
		return asFailure(events.ReadSummary{}, err)
	}
	defer rows.Close()
	summary, err := rows.each(accept, reject)
	if err == nil && summary.Failure == nil && summary.Rows > 0 {
		summary.Failure = rows.missing()
	}
	return summary, err
}

// missing returns a failure if the metadata name a column that has not occurred so far, and nil otherwise.
func (r *Rows) missing() *events.Failure {
	metadata, name := r.decoder.missing()
	if metadata == "" {
		return nil
	}
	bad := badMetadata("the metadata %s names the member %q, but no row has it; use the names of the members in the file",
		metadata, truncate(name, 120))
	bad.Failure.Line, bad.Failure.Column = 1, 1
	return &bad.Failure
}

// CheckColumns returns a failure if the metadata name a column or member that the file does not have. It reads rows
// until all of them have occurred, usually in the first row, and does not read the file if the metadata name none. It
// ignores other faults of the file. The error is one of body.
func CheckColumns(body io.Reader, name string, o Options) (*events.Failure, error) {
	if !o.namesColumns() {
		return nil, nil //nolint:nilnil // no failure and no error
	}
	rows, err := Open(body, name, o)
	if err == nil {
		defer rows.Close()
	}
	for err == nil {
		missing := rows.missing()
		if missing == nil {
			return nil, nil //nolint:nilnil // no failure and no error
		}
		if _, _, err = rows.Next(); isEnd(err) && rows.Read() > 0 {
			return missing, nil
		}
	}
	if isEnd(err) {
		return nil, nil //nolint:nilnil // no rows, so no failure
	}
	_, err = asFailure(events.ReadSummary{}, err)
	return nil, err
}

func (r *Rows) each(accept func(events.Update) error, reject func(*events.Reject) error) (events.ReadSummary, error) {
	summary := events.ReadSummary{Format: r.fileType.String()}
	for {
		u, bad, err := r.Next()
		if isEnd(err) {
			return summary, nil
		}
		if err != nil {
			return asFailure(summary, err)
		}
		summary.Rows++
		if bad != nil {
			summary.Rejected++
			err = reject(bad)
		} else {
			err = accept(u)
		}
		if err != nil {
			return summary, err
		}
	}
}

// asFailure moves a FileError to the summary. It returns other errors unchanged.
func asFailure(summary events.ReadSummary, err error) (events.ReadSummary, error) {
	var bad *FileError
	if errors.As(err, &bad) {
		summary.Failure = &bad.Failure
		return summary, nil
	}
	return summary, err
}
