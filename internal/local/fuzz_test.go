package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/s3store"
)

// FuzzDelivery: an event of the bucket begins the very upload that it announces, the rest of a file goes on with its
// own; anything else is a dead letter.
func FuzzDelivery(f *testing.F) {
	o := events.Object{Bucket: "b", Key: "uploads/é 100%.csv", ETag: "e", Sequencer: "18a0", Size: 7, Time: time.UnixMilli(1795422000123)}
	whole, err := json.Marshal(o)
	if err != nil {
		f.Fatal(err)
	}
	span, err := events.Continuation{Object: o, Offset: 9, Rows: 2, Rejected: 1, RejectsBytes: 100}.Message()
	if err != nil {
		f.Fatal(err)
	}
	for _, subject := range []string{broker.UploadSubject, events.ContinuationType, "nonsense"} {
		f.Add(subject, whole)
		f.Add(subject, span.Body)
	}
	f.Add(broker.UploadSubject, []byte(`{"bucket":"b","key":"k","sequencer":"x","time":"2026-11-23T08:19:00Z"}`))
	f.Add(broker.UploadSubject, []byte(`{"time":"0000-01-01T00:00:00Z","sequencer":"1"}`))
	f.Add(broker.UploadSubject, []byte(`null`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		book := &begun{}
		err := local.Read(context.Background(), ingest.Config{Ledger: book, Reports: noReports{}, Clock: time.Now, Log: slog.New(slog.DiscardHandler)}, subject, body)
		if err != nil {
			if !errors.Is(err, events.ErrPermanent) || len(book.objects) > 0 {
				t.Errorf("%v is not events.ErrPermanent; begun: %+v", err, book.objects)
			}
			return
		}
		if len(book.objects) != 1 {
			t.Fatalf("%q begins %+v", body, book.objects)
		}
		again, err := json.Marshal(book.objects[0])
		if err != nil {
			t.Fatal(err)
		}
		var o events.Object
		if err := json.Unmarshal(again, &o); err != nil || o.UploadID() != book.objects[0].UploadID() {
			t.Errorf("%q begins upload %s, and %q is %s (%v)", body, book.objects[0].UploadID(), again, o.UploadID(), err)
		}
		one, err := o.Origin()
		other, bad := book.objects[0].Origin()
		if one != other || err != nil || bad != nil {
			t.Errorf("origins %q and %q (%v, %v)", one, other, err, bad)
		}
	})
}

// begun is a ledger that has seen every upload already.
type begun struct{ objects []events.Object }

func (b *begun) Begin(_ context.Context, o events.Object) (events.Upload, error) {
	b.objects = append(b.objects, o)
	return events.Upload{Status: events.Live}, nil
}

func (b *begun) Seal(context.Context, string, events.ReadSummary) (*events.Upload, error) {
	return nil, errors.New("there is nothing to seal")
}

// noReports is a reports bucket without objects.
type noReports struct{ s3store.Reports }

func (noReports) Remove(context.Context, string) error { return nil }
