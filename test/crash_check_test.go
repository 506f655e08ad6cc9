package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/testutil"
)

// check checks the data folder that the last process left, and the changes that were received.
func (u *uploader) check(reports map[string][]byte, received map[uint64]events.Change) {
	u.t.Helper()
	ctx := u.t.Context()
	objects := u.objects(ctx)
	for key := range u.accepted {
		if _, found := objects[key]; !found {
			u.t.Errorf("the upload of %s was answered with 200 but is not in the bucket", key)
		}
	}
	db, err := sqlite.Open(sqlite.Config{Path: filepath.Join(u.supervisor.data, "flavorless.db")})
	if err != nil {
		u.t.Fatal(err)
	}
	defer db.Close()
	uploads := map[string]upload{}
	current := map[string]bool{} // ids of uploads whose object has not been overwritten
	for key, o := range objects {
		f, sent := u.files[key]
		if !sent {
			u.t.Fatalf("%s is in the bucket but was not uploaded", key)
		}
		got, err := db.Upload(ctx, o.UploadID())
		if err != nil {
			u.t.Fatalf("%s is in the bucket but not in the ledger: %v", key, err)
		}
		f.object = o
		checkUpload(u.t, f.upload, got, reports[got.ID])
		uploads[key], current[got.ID] = f.upload, true
	}
	all, err := db.Uploads(ctx, "", 1<<20)
	if err != nil {
		u.t.Fatal(err)
	}
	for _, got := range all {
		checkCounts(u.t, got)
		// An object that was overwritten by the same file has the same outcome, unless it was gone before it was read.
		if current[got.ID] || got.Failure != nil && got.Failure.Code == events.ObjectVanished {
			continue
		}
		if got, err = db.Upload(ctx, got.ID); err != nil { // the list has no rejects
			u.t.Fatal(err)
		}
		checkUpload(u.t, u.files[got.Key].upload, got, reports[got.ID])
	}
	team, err := db.Team(ctx, "", 1<<20)
	if err != nil {
		u.t.Fatal(err)
	}
	table := checkTable(u.t, uploads, team, true)
	checkChanges(u.t, slices.Collect(maps.Values(received)), table)
	if left, err := db.Pending(ctx, 1); err != nil || len(left) > 0 {
		u.t.Errorf("Pending = %v, %v; want an empty outbox", left, err)
	}
	u.checkQueues(db, uploads, current)
}

// checkQueues checks that every message that is still in a queue is one that was processed before, or is about an
// object that was overwritten before it was read, and that no dead letters are left.
func (u *uploader) checkQueues(db *sqlite.DB, uploads map[string]upload, current map[string]bool) {
	u.t.Helper()
	streams, err := broker.Start(u.t.Context(), broker.Config{Dir: filepath.Join(u.supervisor.data, "streams")})
	if err != nil {
		u.t.Fatal(err)
	}
	defer streams.Stop()
	log := slog.New(slog.DiscardHandler)
	queues := queue.New(streams, queue.NewDeadQueue(streams, log), log)
	ctx, cancel := context.WithCancel(u.t.Context())
	var consumers sync.WaitGroup
	defer consumers.Wait()
	defer cancel()
	applier := &ingest.Applier{Table: onlyDuplicates{u.t, db}, Log: log}
	for stream, check := range map[broker.Stream]func(context.Context, queue.Delivery) error{
		broker.Uploads: func(ctx context.Context, d queue.Delivery) error {
			var o events.Object
			if err := json.Unmarshal(d.Body, &o); err != nil {
				return err
			}
			got, err := db.Upload(ctx, o.UploadID())
			if _, found := uploads[o.Key]; found && !current[o.UploadID()] && errors.Is(err, events.ErrNotFound) {
				return nil // overwritten
			}
			if err == nil && !got.Status.Settled() {
				err = fmt.Errorf("the event of %s is still in its queue, and the upload is %s", o.Key, got.Status)
			}
			return err
		},
		broker.Updates: func(ctx context.Context, d queue.Delivery) error {
			return errors.Join(applier.Apply(ctx, [][]byte{d.Body})...)
		},
	} {
		consumers.Go(func() {
			config := queue.Config{Stream: stream, MaxMessages: 1}
			err := queues.Consume(ctx, config, func(ctx context.Context, group []queue.Delivery) []error {
				if err := check(ctx, group[0]); err != nil {
					u.t.Error(err)
				}
				return nil
			})
			if err != nil {
				u.t.Error(err)
			}
		})
	}
	empty := map[broker.Stream]queue.Depth{broker.Uploads: {}, broker.Updates: {}}
	testutil.WaitFor(u.t, "the queues to be empty", func() bool {
		depths, err := queues.Depths(ctx)
		if err != nil {
			u.t.Fatal(err)
		}
		return gocmp.Equal(depths, empty)
	})
}

// onlyDuplicates is a table that must already have every batch that it is given.
type onlyDuplicates struct {
	t  *testing.T
	db *sqlite.DB
}

func (o onlyDuplicates) Apply(
	ctx context.Context, batches []events.Batch, _ events.Repair,
) ([]events.BatchResult, error) {
	results, err := o.db.Apply(ctx, batches, nil)
	for i, r := range results {
		if !r.Duplicate {
			o.t.Errorf("batch %s was still in its queue but not applied", batches[i].ID())
		}
	}
	return results, err
}

// objects returns the objects of the bucket by key, with the identities that were announced.
func (u *uploader) objects(ctx context.Context) map[string]events.Object {
	u.t.Helper()
	g, err := gateway.Start(gateway.Config{
		Dir: filepath.Join(u.supervisor.data, "bucket"), AccessKey: "test", SecretKey: "test",
		Bucket: "flavorless-uploads", Prefix: "uploads/", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		u.t.Fatal(err)
	}
	objects := map[string]events.Object{}
	err = g.Objects(ctx, func(o events.Object) error { objects[o.Key] = o; return nil })
	if err = errors.Join(err, g.Stop(ctx)); err != nil {
		u.t.Fatal(err)
	}
	return objects
}
