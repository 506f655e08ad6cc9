package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/flavorless/flavorless/events"
)

// objects reads uploaded objects.
type objects interface {
	// Open reads the stored bytes of exactly the announced object, starting at offset, which is at most its size.
	// Metadata has names in lower case and includes events.MetadataContentType. If the bucket no longer holds the
	// object, the error is events.ErrObjectGone.
	Open(ctx context.Context, o events.Object, offset int64) (body io.ReadCloser, metadata map[string]string, err error)
}

// reports stores reports of rejected rows.
type reports interface {
	// Put stores body and returns its URL. If reading body fails, it stores nothing.
	Put(ctx context.Context, key string, body io.Reader) (location string, err error)
	// Get reads what Put has stored.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	copies
	// Remove removes all keys with a prefix. It succeeds if there are none.
	Remove(ctx context.Context, prefix string) error
}

// ledger records the progress of uploads.
type ledger interface {
	// Begin returns the record of an upload. It creates the record, in which Upload.Sorted is sort, if there is none. It
	// does not change Upload.Sorted of an existing record, except of one that was created before the first Begin.
	Begin(ctx context.Context, o events.Object, sort bool) (events.Upload, error)
	// BeginComparing announces that the upload's batches may leave rows unchanged, and returns true; or it returns false
	// if they may not. It is called before the first batch is published. From then on, tables repair what older uploads
	// write; see events.Repair.
	BeginComparing(ctx context.Context, id string) (bool, error)
	// Seal records the result of reading the file. If all batches have already been applied, it settles the upload and
	// returns it. A settled upload is returned only once.
	Seal(ctx context.Context, id string, r events.ReadSummary) (settled *events.Upload, err error)
}

// Config holds the dependencies and options of an [Ingester].
type Config struct {
	Objects objects
	Updates topic // receives the batches
	Ledger  ledger
	Reports reports
	Clock   func() time.Time
	Log     *slog.Logger

	// BatchBytes is the size of a message's body at which a batch ends, in bytes. The default is what MaxMessage
	// permits. Do not change it while uploads are being read, because a repeated reading must end batches at the same
	// rows.
	BatchBytes int

	// Sorting configures how large files are read.
	Sorting Sorting

	// Ignore matches objects that are not uploads. They are neither read nor recorded.
	Ignore events.IgnoreList

	// Pause, if non-nil, is called between batches and reports whether to stop reading. The rest of the file is then
	// published to Continuations. See BeforeDeadline.
	Pause func(ctx context.Context) bool

	// Continuations receives the rest of a file when Pause stops a reading. Its consumer calls Resume. It may be the
	// same topic as Updates.
	Continuations topic
}

// BeforeDeadline returns a [Config.Pause] that stops reading when less than margin is left until the deadline of ctx.
func BeforeDeadline(margin time.Duration) func(ctx context.Context) bool {
	return func(ctx context.Context) bool {
		deadline, ok := ctx.Deadline()
		return ok && time.Until(deadline) < margin
	}
}

// Ingester publishes the rows of uploaded files in batches.
type Ingester struct{ cfg Config }

// New returns an Ingester.
func New(c Config) *Ingester {
	if c.BatchBytes <= 0 || c.BatchBytes > messageTarget {
		c.BatchBytes = messageTarget
	}
	return &Ingester{c}
}

// MaxContinuations is the maximum number of continuations of a file. It ends a loop that makes no progress, which would
// otherwise run, and cost money, forever: on AWS, Lambda's loop detection is disabled for ingest.
//
// No real file reaches it. On AWS, a continuation reads for more than four minutes, so even the largest S3 object of 50
// TB reaches it only if ingest reads less than 2 MB/s. On one machine, a continuation reads for 10 seconds by default,
// which adds up to 11 days.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingObjects.html
const MaxContinuations = 100_000

// Ingest reads an uploaded object and publishes its rows. If it returns nil, the upload is sealed in the ledger (all
// batches are published, or the file has failed), the rest of the file is published as a continuation, or Config.Ignore
// matches the object. After an error, deliver the event again; the repeated reading has the same ids and versions.
func (in *Ingester) Ingest(ctx context.Context, o events.Object) error {
	if in.cfg.Ignore.Match(o) {
		in.cfg.Log.InfoContext(ctx, "object ignored", "event", "object_ignored", "key", o.Key)
		return nil
	}
	return in.Resume(ctx, events.Continuation{Object: o})
}

// Resume is like Ingest, but reads only the rest of an object.
func (in *Ingester) Resume(ctx context.Context, from events.Continuation) error {
	o := from.Object
	origin, err := o.Origin()
	if err != nil {
		return fmt.Errorf("event of %s/%s: %w: %w", o.Bucket, o.Key, events.ErrPermanent, err)
	}
	id := origin.UploadID()
	log := in.cfg.Log.With("upload", id, "key", o.Key)
	upload, err := in.cfg.Ledger.Begin(ctx, o, from.Sorted() || from.Offset == 0 && in.cfg.Sorting.sorts(o))
	if err != nil {
		return fmt.Errorf("beginning upload %s: %w", id, err)
	}
	if upload.Status != events.Publishing {
		log.InfoContext(ctx, "repeated event ignored", "event", "event_repeated", "status", upload.Status)
		return in.removeParts(ctx, id) // the process that sealed the upload may have crashed before it removed them
	}
	sorted := from.Sorted() || from.Offset == 0 && upload.Sorted
	summary, rest, err := in.read(ctx, from, origin, sorted, log)
	if err == nil && rest != nil {
		err = in.publishRest(ctx, *rest, log)
		if err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("ingesting upload %s from offset %d: %w", id, from.Offset, err)
	}
	summary.At = in.cfg.Clock()
	settled, err := in.cfg.Ledger.Seal(ctx, id, summary)
	if err != nil {
		return fmt.Errorf("sealing upload %s: %w", id, err)
	}
	log.InfoContext(ctx, "upload published", "event", "upload_published", "format", summary.Format, "rows", summary.Rows,
		"rejected", summary.Rejected, "batches", summary.Batches)
	if settled != nil {
		logSettled(ctx, in.cfg.Log, settled)
	}
	if summary.Rejected > 0 || summary.Failure != nil {
		return in.removeParts(ctx, id)
	}
	return nil
}

// removeParts removes the parts of an upload's report. Call it only after the upload is sealed: later deliveries do not
// need the parts. An earlier delivery that is still reading fails without them, but does not change the report, and its
// retry finds the upload sealed. After an error, the event has to be delivered again, which repeats only the removal.
func (in *Ingester) removeParts(ctx context.Context, upload string) error {
	if err := in.cfg.Reports.Remove(ctx, partsPrefix(upload)); err != nil {
		return fmt.Errorf("removing the parts of the report of upload %s: %w", upload, err)
	}
	return nil
}

// publishRest publishes a continuation. All batches before it must have been published.
func (in *Ingester) publishRest(ctx context.Context, rest events.Continuation, log *slog.Logger) error {
	m, err := rest.Message()
	if err != nil {
		return err
	}
	if err := (publisher{in.cfg.Continuations, in.cfg.Log}).publish(ctx, []events.Message{m}); err != nil {
		return err
	}
	log.InfoContext(ctx, "rest of the file published", "event", "continuation_published",
		"offset", rest.Offset, "rows", rest.Rows, "batches", rest.Batches)
	return nil
}

// read publishes the rows of an object from an offset. If sorted is true, it publishes them from the sorted copy,
// unless the file is too large to be sorted. It returns the summary of the whole file, and the rest of the file if the
// reading was stopped.
func (in *Ingester) read(
	ctx context.Context, from events.Continuation, origin events.Origin, sorted bool, log *slog.Logger,
) (summary events.ReadSummary, rest *events.Continuation, err error) {
	o := from.Object
	if sorted {
		p := sortedPass{Ingester: in, from: from, origin: origin, log: log}
		summary, rest, err = p.run(ctx)
		if !errors.Is(err, errUnsorted) {
			return summary, rest, err
		}
	}
	rejects, err := openRejectLog(ctx, in.cfg.Reports, from)
	if err != nil {
		return summary, nil, err
	}
	if from.Count > MaxContinuations {
		summary, err = failAt(ctx, from, rejects, events.Endless, fmt.Sprintf("reading the file was continued %d times "+
			"without reaching its end; rows before this offset were published; split the file and upload its parts",
			MaxContinuations))
		return summary, nil, err
	}
	start := int64(0)
	if from.Reader != nil {
		start = from.Offset
	}
	body, metadata, err := in.cfg.Objects.Open(ctx, o, start)
	if err != nil {
		summary, err = failIfGone(ctx, from, rejects, err)
		return summary, nil, err
	}
	options, err := ParseOptions(metadata)
	if err != nil {
		summary, err = asFailure(summary, err)
		return summary, nil, errors.Join(err, body.Close())
	}
	if from.Offset == 0 && (options.Abort || options.namesColumns()) {
		log.InfoContext(ctx, "checking the file before publishing, because of its metadata", "event", "file_checked")
		refused, err := check(ctx, body, o.Key, options, rejects)
		if err = errors.Join(err, body.Close()); err != nil {
			return summary, nil, err
		}
		if refused != nil {
			return *refused, nil, nil
		}
		if body, _, err = in.cfg.Objects.Open(ctx, o, 0); err != nil {
			summary, err = failIfGone(ctx, from, rejects, err)
			return summary, nil, err
		}
	}
	defer body.Close()
	out, streamCtx := publisher{in.cfg.Updates, in.cfg.Log}.stream(ctx)
	p := &pass{Ingester: in, from: from, rejects: rejects, batch: events.NewBatchWriter(origin), out: out}
	summary, rest, err = p.run(streamCtx, body, options)
	if failed := out.close(streamCtx); failed != nil {
		return events.ReadSummary{}, nil, failed // the cause of err, if any
	}
	if err != nil {
		return events.ReadSummary{}, nil, err
	}
	if rest != nil {
		rest.RejectsBytes, rest.RejectsOmitted = rejects.bytes, rejects.omitted
		return summary, rest, rejects.pause(ctx)
	}
	summary.Rejects = rejects.first
	summary.RejectsAt, err = rejects.close(ctx)
	return summary, nil, err
}

// failIfGone returns the summary of an upload that fails because its object is gone. It returns other errors unchanged.
func failIfGone(
	ctx context.Context, from events.Continuation, rejects *rejectLog, err error,
) (events.ReadSummary, error) {
	if !errors.Is(err, events.ErrObjectGone) {
		return events.ReadSummary{}, err
	}
	return failAt(ctx, from, rejects, events.ObjectVanished,
		"the object was deleted or overwritten before it was read; upload it again")
}

// failAt returns the summary of an upload that fails before this pass reads a row.
func failAt(ctx context.Context, from events.Continuation, rejects *rejectLog, code events.Code, reason string) (
	summary events.ReadSummary, err error,
) {
	summary = events.ReadSummary{
		Rows: from.Rows, Rejected: from.Rejected, Batches: from.Batches, Rejects: rejects.first,
		Failure: &events.Failure{Code: code, Reason: reason, Offset: from.Offset},
	}
	summary.RejectsAt, err = rejects.close(ctx)
	return summary, err
}

// check reads a file before any row is published, as far as the options require it. If no row is to be published, it
// returns the summary of the failed upload.
func check(
	ctx context.Context, body io.Reader, name string, o Options, rejects *rejectLog,
) (*events.ReadSummary, error) {
	if !o.Abort {
		failure, err := CheckColumns(body, name, o)
		if failure == nil || err != nil {
			return nil, err
		}
		fileType, _ := FileTypeOf(name) // CheckColumns has checked the name
		return &events.ReadSummary{Format: fileType.String(), Failure: failure}, nil
	}
	summary, err := Read(body, name, o, func(events.Update) error { return nil },
		func(r *events.Reject) error { return rejects.add(ctx, r) })
	if err != nil {
		return nil, err
	}
	return aborted(ctx, summary, rejects)
}

// aborted returns the summary of an upload of which no row is published because the file has a fault, or nil if it has
// none.
func aborted(ctx context.Context, summary events.ReadSummary, rejects *rejectLog) (*events.ReadSummary, error) {
	if summary.Rejected == 0 && summary.Failure == nil {
		return nil, nil //nolint:nilnil // no failure and no error
	}
	failure := events.Failure{Code: events.Aborted, Reason: fmt.Sprintf(
		"on-error=abort: no row was applied, because of errors in %d of %d rows; fix them and upload the file again",
		summary.Rejected, summary.Rows)}
	if summary.Failure != nil {
		failure = *summary.Failure
		failure.Reason += " (on-error=abort: no row was applied)"
	} else if len(rejects.first) > 0 {
		first := rejects.first[0]
		failure.Line, failure.Column, failure.Offset = first.Line, first.Column, first.Offset
	}
	summary.Failure, summary.Rejected, summary.Rejects = &failure, summary.Rows, rejects.first
	var err error
	summary.RejectsAt, err = rejects.close(ctx)
	return &summary, err
}

func logSettled(ctx context.Context, log *slog.Logger, u *events.Upload) {
	log.InfoContext(ctx, "upload settled", "event", "upload_settled", "upload", u.ID, "key", u.Key, "status", u.Status,
		"rows", u.Counts.Rows, "applied", u.Counts.Applied, "unchanged", u.Counts.Unchanged,
		"superseded", u.Counts.Superseded, "rejected", u.Counts.Rejected,
		"after_seconds", u.Settled.Sub(u.Uploaded).Seconds())
}
