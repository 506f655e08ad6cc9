package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/extsort"
	"github.com/flavorless/flavorless/internal/sortedcopy"
)

// DefaultSortFrom is the default of [Sorting.From]: about 30,000 rows of CSV.
const DefaultSortFrom = 1 << 20

// Sorting configures how large files are read: their rows are sorted, and rows that change nothing are not written.
type Sorting struct {
	// From is the stored size in bytes from which on files are sorted. If it is 0, no file is sorted. The ledger records
	// the decision for each upload, so a new value does not apply to uploads that are being read. Such uploads may need
	// the other fields even if From is 0.
	From int64

	Dir string // for temporary files

	// MaxDisk returns how many bytes the temporary files of an upload may have. They have about the size of the
	// uncompressed file. Files that need more are not sorted.
	MaxDisk func() int64

	// Group, if non-nil, returns the part of the table that holds a person, from 0 to 255. Rows are sorted by group, then
	// by person, so that Apply reads contiguous ranges.
	Group func(person string) int
}

// sorts reports whether a new upload of o is sorted.
func (s Sorting) sorts(o events.Object) bool { return s.From > 0 && o.Size >= s.From }

// CopyKey returns the key of an upload's sorted copy in the reports bucket.
func CopyKey(upload string) string { return upload + "/accepted.parquet" }

// unsortedKey is the key of an empty object that records that an upload is not sorted although it is large. Without it,
// a repeated reading could publish the same rows again in other batches.
func unsortedKey(upload string) string { return upload + "/unsorted" }

// copySummary is the name under which a sorted copy stores the summary of reading its file, in JSON.
const copySummary = "flavorless.summary"

// errUnsorted means that a file is too large to be sorted.
var errUnsorted = errors.New("the file is not sorted")

// sortedPass publishes the rows of an upload from its sorted copy.
type sortedPass struct {
	*Ingester
	from   events.Continuation
	origin events.Origin
	log    *slog.Logger
}

// run publishes the rows of the sorted copy, which it creates if there is none. The error is errUnsorted if the file
// has to be read without sorting.
func (p *sortedPass) run(ctx context.Context) (events.ReadSummary, *events.Continuation, error) {
	rows, err := p.open(ctx)
	if errors.Is(err, events.ErrObjectGone) && !p.from.Sorted() {
		refused, createErr := p.create(ctx)
		if createErr == nil && refused != nil {
			return *refused, nil, nil
		}
		if err = createErr; err == nil {
			rows, err = p.open(ctx)
		}
	}
	if err != nil {
		return events.ReadSummary{}, nil, err
	}
	var summary events.ReadSummary
	if err := json.Unmarshal([]byte(rows.Metadata(copySummary)), &summary); err != nil {
		return summary, nil, fmt.Errorf("the summary in the sorted copy: %w", err)
	}
	rest, batches, err := p.publish(ctx, rows)
	summary.Batches = p.from.Batches + batches
	return summary, rest, err
}

// open opens the sorted copy. The error is events.ErrObjectGone if there is none.
func (p *sortedPass) open(ctx context.Context) (*sortedcopy.Copy, error) {
	return openCopy(ctx, p.cfg.Reports, p.origin.UploadID())
}

// copies reads sorted copies.
type copies interface {
	// OpenAt opens an object of the reports bucket. The error is events.ErrObjectGone if there is none.
	OpenAt(ctx context.Context, key string) (r io.ReaderAt, size int64, err error)
}

func openCopy(ctx context.Context, from copies, upload string) (*sortedcopy.Copy, error) {
	body, size, err := from.OpenAt(ctx, CopyKey(upload))
	if err != nil {
		return nil, fmt.Errorf("opening the sorted copy: %w", err)
	}
	rows, err := sortedcopy.Open(body, size)
	if err != nil {
		return nil, fmt.Errorf("opening the sorted copy: %w", err)
	}
	return rows, nil
}

// create reads and sorts the file, and stores the report of rejected rows and the sorted copy. If no row is to be
// published, it returns the summary of the failed upload instead.
func (p *sortedPass) create(ctx context.Context) (refused *events.ReadSummary, err error) {
	if _, _, err := p.cfg.Reports.OpenAt(ctx, unsortedKey(p.origin.UploadID())); err == nil {
		return nil, errUnsorted
	} else if !errors.Is(err, events.ErrObjectGone) {
		return nil, err
	}
	rejects, err := openRejectLog(ctx, p.cfg.Reports, p.from)
	if err != nil {
		return nil, err
	}
	maxDisk := p.cfg.Sorting.MaxDisk()
	if maxDisk < p.from.Object.Size {
		return nil, p.giveUp(ctx, extsort.ErrDiskLimit)
	}
	sorter, err := extsort.New(extsort.Config{Dir: p.cfg.Sorting.Dir, MaxDisk: maxDisk, Group: p.cfg.Sorting.Group})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sorter.Close()) }()
	summary, refused, err := p.readAll(ctx, rejects, sorter)
	if errors.Is(err, extsort.ErrDiskLimit) || errors.Is(err, errPaused) {
		return nil, p.giveUp(ctx, err)
	}
	if err != nil || refused != nil {
		return refused, err
	}
	summary.Rejects = rejects.first
	if summary.RejectsAt, err = rejects.close(ctx); err != nil {
		return nil, err
	}
	if err = p.store(ctx, sorter, summary); errors.Is(err, extsort.ErrDiskLimit) {
		return nil, p.giveUp(ctx, err)
	}
	return nil, err
}

// giveUp records that the upload is not sorted, and returns errUnsorted.
func (p *sortedPass) giveUp(ctx context.Context, why error) error {
	p.log.WarnContext(ctx, "the file is too large to be sorted; all of its rows will be written",
		"event", "upload_unsorted", "size", p.from.Object.Size, "reason", why)
	if _, err := p.cfg.Reports.Put(ctx, unsortedKey(p.origin.UploadID()), strings.NewReader("")); err != nil {
		return err
	}
	return errUnsorted
}

// yieldRows is the number of rows after which other goroutines run, such as those that answer readers.
const yieldRows = 256

// readAll adds the accepted rows of the file to the sorter. Like check, it returns the summary of the failed upload if
// no row is to be published. The error is errPaused if there is no time for a file of this size.
func (p *sortedPass) readAll(ctx context.Context, rejects *rejectLog, sorter *extsort.Sorter) (
	summary events.ReadSummary, refused *events.ReadSummary, err error,
) {
	o := p.from.Object
	body, metadata, err := p.cfg.Objects.Open(ctx, o, 0)
	if err != nil {
		summary, err = failIfGone(ctx, p.from, rejects, err)
		return summary, &summary, err
	}
	defer body.Close()
	options, err := ParseOptions(metadata)
	if err != nil {
		summary, err = asFailure(summary, err)
		return summary, &summary, err
	}
	read, began := 0, time.Now()
	inTime := func() error {
		if read%yieldRows == 0 {
			runtime.Gosched()
		}
		if read++; read%batchRejects == 0 && outOfTime(ctx, began) {
			return errPaused
		}
		return ctx.Err()
	}
	summary, err = Read(body, o.Key, options,
		func(u events.Update) error { return errors.Join(inTime(), sorter.Add(u)) },
		func(r *events.Reject) error { return errors.Join(inTime(), rejects.add(ctx, r)) })
	switch {
	case err != nil:
	case options.Abort:
		refused, err = aborted(ctx, summary, rejects)
	case summary.Failure != nil && summary.Failure.Code == events.BadMetadata:
		refused = &events.ReadSummary{Format: summary.Format, Failure: summary.Failure}
	}
	return summary, refused, err
}

// outOfTime reports whether more than half of the time until the deadline of ctx is over. Storing the sorted copy takes
// less time than reading the file, but can't be interrupted either.
func outOfTime(ctx context.Context, began time.Time) bool {
	deadline, ends := ctx.Deadline()
	return ends && time.Until(deadline) < time.Since(began)
}

// store stores the sorted copy.
func (p *sortedPass) store(ctx context.Context, sorter *extsort.Sorter, summary events.ReadSummary) error {
	r, w := io.Pipe()
	var writing sync.WaitGroup
	writing.Go(func() {
		_, err := sortedcopy.Write(w, sorter.Rows(ctx), p.cfg.Sorting.Group, func() (map[string]string, error) {
			summary.Superseded = sorter.Superseded()
			text, err := json.Marshal(summary)
			return map[string]string{copySummary: string(text)}, err
		})
		w.CloseWithError(err)
	})
	_, err := p.cfg.Reports.Put(ctx, CopyKey(p.origin.UploadID()), r)
	r.CloseWithError(err) // ends the writing if Put stopped early
	writing.Wait()        // because the caller closes the sorter
	if err != nil {
		return fmt.Errorf("storing the sorted copy: %w", err)
	}
	p.log.InfoContext(ctx, "upload sorted", "event", "upload_sorted", "rows", summary.Rows)
	return nil
}
