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

// FuzzDelivery checks that an event begins exactly the upload that it describes, that a continuation continues its own,
// and that any other message becomes a dead letter.
func FuzzDelivery(f *testing.F) {
	o := events.Object{
		Bucket: "b", Key: "uploads/é 100%.csv", ETag: "e", Sequencer: "18a0", Size: 7, Time: time.UnixMilli(1795422000123),
	}
	event, err := json.Marshal(o)
	if err != nil {
		f.Fatal(err)
	}
	continuation, err := events.Continuation{Object: o, Offset: 9, Rows: 2, Rejected: 1, RejectsBytes: 100}.Message()
	if err != nil {
		f.Fatal(err)
	}
	for _, subject := range []string{broker.UploadSubject, events.ContinuationType, "nonsense"} {
		f.Add(subject, event)
		f.Add(subject, continuation.Body)
	}
	f.Add(broker.UploadSubject, []byte(`{"bucket":"b","key":"k","sequencer":"x","time":"2026-11-23T08:19:00Z"}`))
	f.Add(broker.UploadSubject, []byte(`{"time":"0000-01-01T00:00:00Z","sequencer":"1"}`))
	f.Add(broker.UploadSubject, []byte(`null`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		ledger := &fakeLedger{}
		err := local.Read(context.Background(), ingest.Config{
			Ledger: ledger, Reports: noReports{}, Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		}, subject, body)
		if err != nil {
			if !errors.Is(err, events.ErrPermanent) || len(ledger.objects) > 0 {
				t.Errorf("error %v and %d uploads, want events.ErrPermanent and none", err, len(ledger.objects))
			}
			return
		}
		if len(ledger.objects) != 1 {
			t.Fatalf("%q begins %d uploads, want 1: %+v", body, len(ledger.objects), ledger.objects)
		}
		again, err := json.Marshal(ledger.objects[0])
		if err != nil {
			t.Fatal(err)
		}
		var o events.Object
		if err := json.Unmarshal(again, &o); err != nil || o.UploadID() != ledger.objects[0].UploadID() {
			t.Errorf("upload of %q = %s, error %v; want %s as for %q",
				again, o.UploadID(), err, ledger.objects[0].UploadID(), body)
		}
		one, err := o.Origin()
		other, bad := ledger.objects[0].Origin()
		if one != other || err != nil || bad != nil {
			t.Errorf("origins %q and %q, errors %v and %v; want the same origin", one, other, err, bad)
		}
	})
}

// fakeLedger is a ledger in which every upload is settled.
type fakeLedger struct{ objects []events.Object }

func (l *fakeLedger) Begin(_ context.Context, o events.Object, _ bool) (events.Upload, error) {
	l.objects = append(l.objects, o)
	return events.Upload{Status: events.Live}, nil
}

func (l *fakeLedger) BeginComparing(context.Context, string) (bool, error) { return true, nil }

func (l *fakeLedger) Seal(context.Context, string, events.ReadSummary) (*events.Upload, error) {
	return nil, errors.New("the upload is settled")
}

// noReports is an empty bucket for reports.
type noReports struct{ s3store.Reports }

func (noReports) Remove(context.Context, string) error { return nil }
