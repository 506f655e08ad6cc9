package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
)

// uploadID returns the id of the n-th upload of these tests.
func uploadID(n int) string {
	o := object()
	o.Sequencer = fmt.Sprintf("%018x", n)
	return o.UploadID()
}

// addUploads adds settled uploads to the ledger, from number n, the newest, to 1.
func (h *testServer) addUploads(n int) {
	o := object()
	for i := n; i > 0; i-- {
		h.store.uploads = append(h.store.uploads, events.Upload{
			ID: uploadID(i), Bucket: o.Bucket, Key: o.Key, ETag: o.ETag, Size: o.Size, Status: events.Live, Format: "csv",
			Counts: events.Counts{Rows: 9, Applied: 7, Superseded: 1, Rejected: 1, Batches: 1, BatchesApplied: 1},
			Rejects: []events.Reject{
				{Line: 3, Offset: 40, Code: events.MissingFlavor, Reason: "flavor is empty", Raw: "<dan>,\xff"},
			},
			Uploaded: o.Time, Started: o.Time.Add(1500 * time.Microsecond),
			Published: o.Time.Add(time.Second), Settled: o.Time.Add(2 * time.Second),
		})
	}
}

// require makes the API require a scope.
func (h *testServer) require(t testing.TB, scope string) {
	t.Helper()
	handler, err := api.New(api.Config{
		Favorites: h.store, Uploads: h.store,
		Verifier: h.issuer.newVerifier(t, func(c *api.VerifierConfig) { c.RequiredScope = scope }),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Handler = handler
}

func TestUpload(t *testing.T) {
	t.Run("settled", func(t *testing.T) {
		h := newServer(t, nil)
		h.addUploads(1)
		want := `{"id":"` + uploadID(1) + `","bucket":"inbox","key":"team.csv","etag":"d41d8cd98f00b204e9800998ecf8427e",` +
			`"size":179,"status":"live","format":"csv","counts":{"rows":9,"applied":7,"unchanged":0,"superseded":1,` +
			`"rejected":1,"batches":1,"batchesApplied":1},"rejects":[{"line":3,"offset":40,` +
			`"code":"missing_flavor","reason":"flavor is empty","raw":"<dan>,` + "\ufffd" + `"}],` +
			`"uploaded":"2026-11-23T08:19:00.123Z","started":"2026-11-23T08:19:00.124Z",` +
			`"published":"2026-11-23T08:19:01.123Z","settled":"2026-11-23T08:19:02.123Z"}` + "\n"
		a := h.get(t, "/uploads/"+uploadID(1)).wantStatus(t, http.StatusOK)
		if diff := cmp.Diff(want, a.body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	})
	t.Run("just begun", func(t *testing.T) {
		h := newServer(t, nil)
		o := object()
		h.store.uploads = []events.Upload{
			{ID: uploadID(1), Bucket: "b", Key: "k", ETag: "e", Status: events.Publishing, Uploaded: o.Time, Started: o.Time},
		}
		want := `{"id":"` + uploadID(1) + `","bucket":"b","key":"k","etag":"e","size":0,"status":"publishing",` +
			`"counts":{"rows":0,` +
			`"applied":0,"unchanged":0,"superseded":0,"rejected":0,"batches":0,"batchesApplied":0},"rejects":[],` +
			`"uploaded":"2026-11-23T08:19:00.123Z","started":"2026-11-23T08:19:00.123Z"}` + "\n"
		if diff := cmp.Diff(want, h.get(t, "/uploads/"+uploadID(1)).body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	})
	t.Run("failed", func(t *testing.T) {
		h := newServer(t, nil)
		h.addUploads(1)
		h.store.uploads[0].Status = events.Failed
		h.store.uploads[0].Failure = &events.Failure{Code: events.BadHeader, Reason: "no column person"}
		a := h.get(t, "/uploads/"+uploadID(1)).wantStatus(t, http.StatusOK)
		var got struct{ Failure json.RawMessage }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(`{"code":"bad_header","reason":"no column person","offset":0}`, string(got.Failure)); diff != "" {
			t.Errorf("failure (-want +got):\n%s", diff)
		}
	})
	for _, test := range []struct {
		name, id string
		status   int
	}{
		{"unknown", uploadID(2), 404},
		{"too short", "abc", 400},
		{"upper case", "ABCDEFGHJKMNPQRSTVWXYZ0123", 400},
		{"with a slash", "%2F", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newServer(t, nil)
			h.addUploads(1)
			problemOf(t, h.get(t, "/uploads/"+test.id).wantStatus(t, test.status))
		})
	}
}

func TestUploads(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		if a := newServer(t, nil).get(t, "/uploads"); a.body != `{"uploads":[]}`+"\n" {
			t.Errorf("body = %q, want an empty list", a.body)
		}
	})
	t.Run("pages, newest first, without rejects", func(t *testing.T) {
		h := newServer(t, nil)
		h.addUploads(120)
		sizes, n := []int{}, 120
		for target := "/uploads"; target != ""; {
			a := h.get(t, target).wantStatus(t, http.StatusOK)
			var page struct {
				Uploads []struct {
					ID      string
					Rejects []events.Reject
				}
			}
			if err := json.Unmarshal([]byte(a.body), &page); err != nil {
				t.Fatal(err)
			}
			for _, upload := range page.Uploads {
				if upload.ID != uploadID(n) || upload.Rejects != nil {
					t.Fatalf("got upload %+v, want %s without rejects", upload, uploadID(n))
				}
				n--
			}
			sizes = append(sizes, len(page.Uploads))
			target = next(t, a, "")
		}
		if diff := cmp.Diff([]int{50, 50, 20}, sizes); diff != "" {
			t.Errorf("page sizes (-want +got):\n%s", diff)
		}
	})
	t.Run("before an unknown upload", func(t *testing.T) {
		problemOf(t, newServer(t, nil).get(t, "/uploads?before="+uploadID(1)).wantStatus(t, http.StatusNotFound))
	})
}
