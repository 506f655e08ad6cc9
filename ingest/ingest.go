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

// objects reads uploads.
type objects interface {
	// Open reads exactly the object that was announced, from an offset of its stored bytes on, and its metadata: names in lower
	// case, and the object's Content-Type as events.MetadataContentType. At the end of the object the body is empty; the offset must
	// not be greater. The error is events.ErrVanished if the object is not there any more.
	Open(ctx context.Context, o events.Object, offset int64) (body io.ReadCloser, metadata map[string]string, err error)
}

// reports keeps what is too long for the ledger.
type reports interface {
	// Put stores all that body gives, and tells where. An error of body leaves nothing behind.
	Put(ctx context.Context, key string, body io.Reader) (location string, err error)
	// Get reads what was stored.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// Remove removes everything whose key begins with prefix. It succeeds if there is nothing.
	Remove(ctx context.Context, prefix string) error
}

// ledger records how far each upload is.
type ledger interface {
	// Begin creates the record of an upload, or returns the one that is there.
	Begin(ctx context.Context, o events.Object) (events.Upload, error)
	// Seal records how the reading ended. If all batches have been applied by then, the upload is settled by that, and
	// returned: to one caller, once.
	Seal(ctx context.Context, id string, r events.ReadSummary) (settled *events.Upload, err error)
}

// Config is what an Ingester works with.
type Config struct {
	Objects objects
	Updates topic // receives the batches
	Ledger  ledger
	Reports reports
	Clock   func() time.Time
	Log     *slog.Logger

	// BatchBytes is the size of a message's body at which a batch ends, in bytes; by default as much as MaxMessage allows.
	// Change it only while nothing is being ingested: batches are cut alike on every run only with the same value.
	BatchBytes int

	// Ignore holds the names of objects that are no uploads. The ledger does not know of them.
	Ignore events.IgnoreList

	// Pause, if non-nil, is called between batches and reports whether to stop reading. The rest of the file is then published
	// to Continuations, whose consumer calls Resume. See BeforeDeadline.
	Pause func(ctx context.Context) bool

	// Continuations receives the rest of a file when Pause stops a reading. It may be the same topic as Updates.
	Continuations topic
}

// BeforeDeadline is a Pause for where ctx ends at a fixed time: it stops so long before.
func BeforeDeadline(margin time.Duration) func(ctx context.Context) bool {
	return func(ctx context.Context) bool {
		deadline, ok := ctx.Deadline()
		return ok && time.Until(deadline) < margin
	}
}

// Ingester turns uploaded files into batches of updates.
type Ingester struct{ cfg Config }

// New returns an Ingester.
func New(c Config) *Ingester {
	if c.BatchBytes <= 0 || c.BatchBytes > messageTarget {
		c.BatchBytes = messageTarget
	}
	return &Ingester{c}
}

// MaxContinuations is the maximum number of continuations of one file. It ends a reading that makes no real progress, which would
// otherwise go on, and cost money, for ever: on AWS, Lambda's own detection of such loops is switched off for ingest.
//
// No real file has as many. On AWS a continuation reads for more than four minutes, so that even an object of 50 TB, the
// largest that S3 stores, gets there only when it is read at less than 2 MB/s; on one machine a continuation reads for 10
// seconds by default, which makes 11 days of reading alone.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingObjects.html
const MaxContinuations = 100_000

// Ingest reads one uploaded object and publishes its rows. When it returns nil, the ledger knows the end of it (all
// batches are published, or the file has failed), or the rest is published as a span. Any error means that nothing is
// decided and the event should come again; everything it then does again has the same ids and versions as before. Objects
// in Config.Ignore are left alone.
func (in *Ingester) Ingest(ctx context.Context, o events.Object) error {
	if in.cfg.Ignore.Match(o) {
		in.cfg.Log.InfoContext(ctx, "object ignored", "event", "object_ignored", "key", o.Key)
		return nil
	}
	return in.Resume(ctx, events.Continuation{Object: o})
}

// Resume is Ingest for the rest of an object.
func (in *Ingester) Resume(ctx context.Context, from events.Continuation) error {
	o := from.Object
	origin, err := o.Origin()
	if err != nil {
		return fmt.Errorf("event of %s/%s: %w: %w", o.Bucket, o.Key, events.ErrPermanent, err)
	}
	log := in.cfg.Log.With("upload", origin.UploadID(), "key", o.Key)
	upload, err := in.cfg.Ledger.Begin(ctx, o)
	if err != nil {
		return fmt.Errorf("beginning upload %s: %w", origin.UploadID(), err)
	}
	if upload.Status != events.Publishing {
		log.InfoContext(ctx, "event repeated", "status", upload.Status)
		// The process that sealed the upload may have crashed before it removed them.
		return in.removeParts(ctx, origin.UploadID())
	}
	reading, rest, err := in.read(ctx, from, origin, log)
	if err == nil && rest != nil {
		err = in.handOn(ctx, *rest, log)
		if err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("ingesting upload %s from %d on: %w", origin.UploadID(), from.Offset, err)
	}
	reading.At = in.cfg.Clock()
	settled, err := in.cfg.Ledger.Seal(ctx, origin.UploadID(), reading)
	if err != nil {
		return fmt.Errorf("sealing upload %s: %w", origin.UploadID(), err)
	}
	log.InfoContext(ctx, "published", "format", reading.Format, "rows", reading.Rows, "rejected", reading.Rejected, "batches", reading.Batches)
	if settled != nil {
		logSettled(ctx, in.cfg.Log, settled)
	}
	if reading.Rejected > 0 || reading.Failure != nil {
		return in.removeParts(ctx, origin.UploadID())
	}
	return nil
}

// removeParts removes the parts of an upload's report. Call it only after the ledger was told the end of the upload, because
// deliveries that begin later do not need the parts. A delivery that began earlier and is still reading fails without its
// parts; it leaves the report as it is, and its retry finds the upload sealed. An error means that the event should come
// again, which repeats only the removal.
func (in *Ingester) removeParts(ctx context.Context, upload string) error {
	if err := in.cfg.Reports.Remove(ctx, partsOf(upload)); err != nil {
		return fmt.Errorf("removing the parts of the report of upload %s: %w", upload, err)
	}
	return nil
}

// handOn publishes what is left to do, once all before it is published.
func (in *Ingester) handOn(ctx context.Context, rest events.Continuation, log *slog.Logger) error {
	m, err := rest.Message()
	if err != nil {
		return err
	}
	if err := (publisher{in.cfg.Continuations, in.cfg.Log}).publish(ctx, []events.Message{m}); err != nil {
		return err
	}
	log.InfoContext(ctx, "handed on", "offset", rest.Offset, "rows", rest.Rows, "batches", rest.Batches)
	return nil
}

// read publishes the object from an offset on. It returns what was read of the whole file, or the rest if it stopped
// before the end.
func (in *Ingester) read(ctx context.Context, from events.Continuation, origin events.Origin, log *slog.Logger) (events.ReadSummary, *events.Continuation, error) {
	o := from.Object
	rejects, err := openRejectLog(ctx, in.cfg.Reports, from)
	if err != nil {
		return events.ReadSummary{}, nil, err
	}
	if from.Count > MaxContinuations {
		reading, err := unfinished(from, rejects, events.Endless, fmt.Sprintf("reading the file was continued %d times without "+
			"reaching its end; the rows before this offset were published; split the file and upload its parts", MaxContinuations))
		return reading, nil, err
	}
	start := int64(0)
	if from.Reader != nil {
		start = from.Offset
	}
	body, metadata, err := in.cfg.Objects.Open(ctx, o, start)
	if err != nil {
		return vanished(from, rejects, err)
	}
	options, err := ParseOptions(metadata)
	if err != nil {
		reading, failed := broken(events.ReadSummary{}, err)
		return reading, nil, errors.Join(failed, body.Close())
	}
	if from.Offset == 0 && (options.Abort || options.namesColumns()) {
		log.InfoContext(ctx, "reading it before anything is published, as its metadata ask")
		refused, err := lookAhead(body, o.Key, options, rejects)
		if err = errors.Join(err, body.Close()); err != nil {
			return events.ReadSummary{}, nil, err
		}
		if refused != nil {
			return *refused, nil, nil
		}
		if body, _, err = in.cfg.Objects.Open(ctx, o, 0); err != nil {
			return vanished(from, rejects, err)
		}
	}
	defer body.Close()
	out := publisher{in.cfg.Updates, in.cfg.Log}.stream(ctx)
	p := &pass{Ingester: in, ctx: ctx, from: from, rejects: rejects, batch: events.NewBatchWriter(origin), out: out}
	reading, rest, err := p.run(body, options)
	if failed := out.close(); failed != nil {
		return events.ReadSummary{}, nil, failed // before err: it may be but a consequence
	}
	if err != nil {
		return events.ReadSummary{}, nil, err
	}
	if rest != nil {
		rest.RejectsBytes, rest.RejectsOmitted = rejects.bytes, rejects.omitted
		return reading, rest, rejects.pause()
	}
	reading.Rejects = rejects.first
	reading.RejectsAt, err = rejects.close()
	return reading, nil, err
}

// vanished makes a lost object a failure of its upload, for all to see.
func vanished(from events.Continuation, rejects *rejectLog, err error) (events.ReadSummary, *events.Continuation, error) {
	if !errors.Is(err, events.ErrObjectGone) {
		return events.ReadSummary{}, nil, err
	}
	reading, err := unfinished(from, rejects, events.ObjectVanished,
		"the object was deleted or overwritten before it was read; upload it again")
	return reading, nil, err
}

// unfinished ends a reading as failed where it was to be continued.
func unfinished(from events.Continuation, rejects *rejectLog, code events.Code, reason string) (reading events.ReadSummary, err error) {
	reading = events.ReadSummary{
		Rows: from.Rows, Rejected: from.Rejected, Batches: from.Batches, Rejects: rejects.first,
		Failure: &events.Failure{Code: code, Reason: reason, Offset: from.Offset},
	}
	reading.RejectsAt, err = rejects.close()
	return reading, err
}

// lookAhead reads a file before anything of it is published, as far as its uploader's wishes need it. If no row is to be
// published, lookAhead returns how the upload ends.
func lookAhead(body io.Reader, name string, o Options, rejects *rejectLog) (refused *events.ReadSummary, err error) {
	if !o.Abort {
		failure, err := CheckColumns(body, name, o)
		if failure == nil || err != nil {
			return nil, err
		}
		format, _ := FileTypeOf(name) // it was opened by that
		return &events.ReadSummary{Format: format.String(), Failure: failure}, nil
	}
	trial, err := Read(body, name, o, func(events.Update) error { return nil }, rejects.add)
	if err != nil || trial.Rejected == 0 && trial.Failure == nil {
		return nil, err
	}
	reading, err := aborted(trial, rejects)
	return &reading, err
}

// aborted refuses every row of a file that has a bad one, or that can't be read, as its uploader wished.
func aborted(trial events.ReadSummary, rejects *rejectLog) (events.ReadSummary, error) {
	bad := events.Failure{Code: events.Aborted, Reason: fmt.Sprintf(
		"on-error=abort: %d of %d rows are bad, so none was applied; mend them and upload again", trial.Rejected, trial.Rows)}
	if trial.Failure != nil {
		bad = *trial.Failure
		bad.Reason += " (on-error=abort: nothing was applied)"
	} else if len(rejects.first) > 0 {
		bad.Line, bad.Column, bad.Offset = rejects.first[0].Line, rejects.first[0].Column, rejects.first[0].Offset
	}
	trial.Failure, trial.Rejected, trial.Rejects = &bad, trial.Rows, rejects.first
	var err error
	trial.RejectsAt, err = rejects.close()
	return trial, err
}

func logSettled(ctx context.Context, log *slog.Logger, u *events.Upload) {
	log.InfoContext(ctx, "settled", "upload", u.ID, "key", u.Key, "status", u.Status, "rows", u.Counts.Rows, "applied", u.Counts.Applied,
		"superseded", u.Counts.Superseded, "rejected", u.Counts.Rejected, "after", u.Settled.Sub(u.Uploaded))
}
