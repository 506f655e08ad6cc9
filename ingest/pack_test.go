package ingest_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// TestBatchesOfAFile encodes the rows of a file in batches and decodes them. The offsets include those around every
// power of ten up to a million.
func TestBatchesOfAFile(t *testing.T) {
	origin, err := events.Object{Bucket: "b", Key: "a.csv", ETag: "e", Sequencer: "0a", Time: time.UnixMilli(1)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	file := []byte("flavor,person,action\n,x,remove\nv,\"salt, \"\"caramel\"\"\",\ncrème,René,set\n🍦,b\\c,\n")
	for i := range 80_000 {
		file = append(file, "v,"...)
		file = append(file, "abcdefghijkl"[:1+i%12]...)
		file = append(file, ",\n"...)
	}
	var want, got []events.Update
	unpack := func(m events.Message) {
		b, err := events.DecodeBatch(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		if m.Size() > ingest.MaxMessage {
			t.Errorf("message %s has %d bytes, want at most %d", m.ID, m.Size(), ingest.MaxMessage)
		}
		got = append(got, b.Rows...)
	}
	batch := events.NewBatchWriter(origin)
	var kept []events.Message // messages remain valid while the next one is encoded
	summary, err := ingest.Read(bytes.NewReader(file), "a.csv", ingest.Options{}, func(u events.Update) error {
		want = append(want, u)
		if batch.Add(u); batch.Size() > ingest.MaxMessage-2*events.MaxEncodedRow {
			kept = append(kept, batch.Message())
		}
		return nil
	}, nil)
	if err != nil || summary.Rows != 80_004 || summary.Rejected != 0 {
		t.Fatalf("Read = %+v, %v, want 80004 rows", summary, err)
	}
	for _, m := range append(kept, batch.Message()) {
		unpack(m)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-read +decoded):\n%s", diff)
	}
}
