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
	// Open reads exactly the object that was announced, and its metadata (names in lower case). The error is
	// events.ErrVanished if it is not there any more.
	Open(ctx context.Context, o events.Object) (body io.ReadCloser, metadata map[string]string, err error)
}

// reports keeps what is too long for the ledger.
type reports interface {
	// Put stores all that body gives, and tells where. An error of body leaves nothing behind.
	Put(ctx context.Context, key string, body io.Reader) (location string, err error)
}

// ledger records how far each upload is.
type ledger interface {
	// Begin creates the record of an upload, or returns the one that is there.
	Begin(ctx context.Context, o events.Object) (events.Upload, error)
	// Seal records how the reading ended. If all batches have been applied by then, the upload is settled by that, and
	// returned: to one caller, once.
	Seal(ctx context.Context, id string, r events.Reading) (settled *events.Upload, err error)
}

// Config is what an Ingester works with.
type Config struct {
	Objects objects
	Updates topic
	Ledger  ledger
	Reports reports
	Clock   func() time.Time
	Log     *slog.Logger

	// BatchBytes is the size of a message's body at which a batch ends, in bytes; by default as much as MaxMessage allows.
	// Change it only while nothing is being ingested: batches are cut alike on every run only with the same value.
	BatchBytes int
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

// abortName and abortValue are the metadata with which an uploader asks for all or nothing.
const abortName, abortValue = "on-error", "abort"

// Ingest reads one uploaded object and publishes its rows. When it returns nil, the ledger knows the end of it: all
// batches are published, or the file has failed. Any error means that nothing is decided and the event should come
// again; everything it then does again has the same ids and versions as before.
func (in *Ingester) Ingest(ctx context.Context, o events.Object) error {
	origin, err := o.Origin()
	if err != nil {
		return fmt.Errorf("event of %s/%s: %w: %w", o.Bucket, o.Key, events.ErrPermanent, err)
	}
	log := in.cfg.Log.With("upload", origin.Upload(), "key", o.Key)
	upload, err := in.cfg.Ledger.Begin(ctx, o)
	if err != nil {
		return fmt.Errorf("beginning upload %s: %w", origin.Upload(), err)
	}
	if upload.Status != events.Publishing {
		log.InfoContext(ctx, "event repeated", "status", upload.Status)
		return nil
	}
	reading, err := in.read(ctx, o, origin, log)
	if err != nil {
		return fmt.Errorf("ingesting upload %s: %w", origin.Upload(), err)
	}
	reading.At = in.cfg.Clock()
	settled, err := in.cfg.Ledger.Seal(ctx, origin.Upload(), reading)
	if err != nil {
		return fmt.Errorf("sealing upload %s: %w", origin.Upload(), err)
	}
	log.InfoContext(ctx, "published", "format", reading.Format, "rows", reading.Rows, "rejected", reading.Rejected, "batches", reading.Batches)
	if settled != nil {
		logSettled(ctx, in.cfg.Log, settled)
	}
	return nil
}

func (in *Ingester) read(ctx context.Context, o events.Object, origin events.Origin, log *slog.Logger) (events.Reading, error) {
	rejects := newRejectLog(ctx, in.cfg.Reports, origin.Upload())
	defer rejects.discard()
	body, metadata, err := in.cfg.Objects.Open(ctx, o)
	if err != nil {
		return vanished(err)
	}
	if metadata[abortName] == abortValue {
		log.InfoContext(ctx, "reading it through first, as on-error=abort asks")
		trial, err := in.pass(body, o, rejects, nil, nil)
		if err != nil {
			return events.Reading{}, err
		}
		if trial.Rejected > 0 || trial.Failure != nil {
			return aborted(trial, rejects)
		}
		if body, _, err = in.cfg.Objects.Open(ctx, o); err != nil {
			return vanished(err)
		}
	}
	out := publisher{in.cfg.Updates, in.cfg.Log}.stream(ctx)
	reading, err := in.pass(body, o, rejects, events.NewBatchWriter(origin), out)
	if failed := out.close(); failed != nil {
		return events.Reading{}, failed // before err: it may be but a consequence
	}
	if err != nil {
		return events.Reading{}, err
	}
	reading.Rejects = rejects.first
	reading.RejectsAt, err = rejects.close()
	return reading, err
}

// pass reads body to its end, or to where it breaks. Rows go to out in batches; without out they are only counted.
// It closes body. The error is one that may go away.
func (in *Ingester) pass(body io.ReadCloser, o events.Object, rejects *rejectLog, batch *events.BatchWriter, out *stream) (events.Reading, error) {
	defer body.Close()
	if out == nil {
		return Read(body, o.Key, func(events.Update) error { return nil }, rejects.add)
	}
	batches := int64(0)
	cut := func() error {
		out.add(batch.Message())
		batches++
		return out.failure()
	}
	reading, err := Read(body, o.Key, func(u events.Update) error {
		if batch.Add(u); batch.Size() >= in.cfg.BatchBytes {
			return cut()
		}
		return nil
	}, rejects.add)
	if err == nil && batch.Rows() > 0 {
		err = cut()
	}
	reading.Batches = batches
	return reading, err
}

// Read reads a file to its end, or to where it breaks; name tells the format. It hands on each row that is accepted and
// each that is rejected, and returns what there was: format, rows, how many were rejected, and why reading broke, if it
// did. The error is one of body, accept or reject.
func Read(body io.Reader, name string, accept func(events.Update) error, reject func(*events.Reject) error) (events.Reading, error) {
	var reading events.Reading
	rows, err := Open(body, name)
	if err != nil {
		return broken(reading, err)
	}
	defer rows.Close()
	reading.Format = rows.Format().String()
	for u := new(events.Update); ; {
		bad, err := rows.Next(u)
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
			err = accept(*u)
		}
		if err != nil {
			return reading, err
		}
	}
}

// broken makes a file's own fault part of what was read; any other error remains one.
func broken(reading events.Reading, err error) (events.Reading, error) {
	var bad *FileError
	if errors.As(err, &bad) {
		reading.Failure = &bad.Failure
		return reading, nil
	}
	return reading, err
}

// vanished makes a lost object a failure of its upload, for all to see.
func vanished(err error) (events.Reading, error) {
	if !errors.Is(err, events.ErrVanished) {
		return events.Reading{}, err
	}
	return events.Reading{Failure: &events.Failure{
		Code: events.ObjectVanished, Reason: "the object was deleted or overwritten before it was read; upload it again",
	}}, nil
}

// aborted refuses every row of a file that has a bad one, or that can't be read, as its uploader wished.
func aborted(trial events.Reading, rejects *rejectLog) (events.Reading, error) {
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
