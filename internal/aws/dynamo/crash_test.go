package dynamo_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/test/dynamolocal"
)

// TestKilledAnywhere: several functions at a time begin, seal and apply overlapping uploads; each may die before or after
// any of its calls reaches the service; what it did not finish comes again, and more besides. In the end table, counts
// and changes are all there, once.
func TestKilledAnywhere(t *testing.T) {
	endpoint := judge.Endpoint(t)
	tables := dynamolocal.Create(t, dynamodb.New(dynamolocal.Options(endpoint)), fmt.Sprintf("t%d", names.Add(1)))
	stream := dynamolocal.NewStream(endpoint, tables.Favorites)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		w := &world{
			T: t, endpoint: endpoint, tables: tables, prefix: fmt.Sprintf("run %d/", run),
			settled: map[string]int{}, want: map[string]events.Favorite{},
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "uploads") {
			w.upload(fmt.Sprintf("%s%d.csv", w.prefix, i))
		}
		for len(w.jobs) > 0 {
			w.step()
		}
		w.check(stream)
	})
}

type world struct {
	*rapid.T
	endpoint string
	tables   dynamolocal.Tables
	prefix   string // of this run's people
	jobs     []job
	readings map[string]events.ReadSummary // by upload
	want     map[string]events.Favorite

	mu      sync.Mutex
	settled map[string]int // times that somebody was told so, by upload
}

// job is what a function is called for, until it succeeds.
type job func(ctx context.Context, table *dynamo.Table) error

func (w *world) draw(label string, most int) int { return rapid.IntRange(0, most).Draw(w.T, label) }

// upload makes a file's batches and everything that is to be done about it, some of it repeatedly.
func (w *world) upload(key string) {
	o := events.Object{Bucket: "b", Key: key, ETag: "e", Sequencer: "01", Size: 1, Time: time.UnixMilli(1_700_000_000_000 + int64(w.draw("ms", 1)))}
	origin, err := o.Origin()
	if err != nil {
		w.Fatal(err)
	}
	r := events.ReadSummary{Format: "csv", Rows: 1, Rejected: 1, Rejects: []events.Reject{{Line: 2, Code: events.TooLong}}, At: time.UnixMilli(1_700_000_001_000)}
	for i := range w.draw("batches", 3) {
		b := events.Batch{Origin: origin, First: int64(i) * 1000}
		for j := range 1 + w.draw("rows", 5) {
			row := events.Update{Offset: b.First + int64(j), Person: w.prefix + string(rune('a'+w.draw("person", 5)))}
			if row.Flavor = []string{"mint", "nut", "fig", ""}[w.draw("flavor", 3)]; row.Flavor == "" {
				row.Remove = true
			}
			b.Rows = append(b.Rows, row)
			if v := origin.At(row.Offset); v > w.want[row.Person].Version {
				w.want[row.Person] = events.Favorite{Person: row.Person, Flavor: row.Flavor, Version: v}
			}
		}
		r.Rows += int64(len(b.Rows))
		r.Batches++
		for range 1 + w.draw("deliveries", 1) {
			w.jobs = append(w.jobs, func(ctx context.Context, table *dynamo.Table) error {
				tallies, err := table.Apply(ctx, []events.Batch{b})
				for _, tally := range tallies {
					w.heard(tally.Settled)
				}
				return err
			})
		}
	}
	if w.readings == nil {
		w.readings = map[string]events.ReadSummary{}
	}
	w.readings[origin.UploadID()] = r
	for range 1 + w.draw("events", 1) {
		w.jobs = append(w.jobs, func(ctx context.Context, table *dynamo.Table) error {
			if _, err := table.Begin(ctx, o); err != nil {
				return err
			}
			settled, err := table.Seal(ctx, origin.UploadID(), r)
			w.heard(settled)
			return err
		})
	}
}

func (w *world) heard(u *events.Upload) {
	if u == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settled[u.ID]++
}

var errKilled = errors.New("the function is dead")

// step runs some jobs at the same time.
func (w *world) step() {
	w.jobs = rapid.Permutation(w.jobs).Draw(w.T, "order")
	n := 1 + w.draw("at once", min(2, len(w.jobs)-1))
	now := w.jobs[:n]
	w.jobs = w.jobs[n:]
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i, job := range now {
		m := &mortal{after: rapid.Bool().Draw(w.T, "after the call")}
		m.left.Store(1000)
		if rapid.Bool().Draw(w.T, "dies") {
			m.left.Store(int64(w.draw("calls", 7)))
		}
		wg.Go(func() { errs[i] = job(context.Background(), w.table(m)) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			if !errors.Is(err, errKilled) {
				w.Fatal(err)
			}
			w.jobs = append(w.jobs, now[i])
		}
	}
}

func (w *world) table(client dynamodb.HTTPClient) *dynamo.Table {
	o := dynamolocal.Options(w.endpoint)
	o.HTTPClient, o.RetryMaxAttempts = client, 1
	return dynamo.New(dynamo.Config{Client: dynamodb.New(o), Favorites: w.tables.Favorites, Uploads: w.tables.Uploads})
}

// mortal is the network of a function that dies after some calls: before or after the last one gets there.
type mortal struct {
	left  atomic.Int64
	after bool
}

func (m *mortal) Do(r *http.Request) (*http.Response, error) {
	left := m.left.Add(-1)
	if left < 0 && (!m.after || left != -1) {
		return nil, errKilled
	}
	answer, err := http.DefaultClient.Do(r.WithContext(context.WithoutCancel(r.Context())))
	if err == nil && left < 0 {
		answer.Body.Close()
		return nil, errKilled
	}
	return answer, err
}

func (w *world) check(stream *dynamolocal.Stream) {
	table := w.table(http.DefaultClient)
	ctx := context.Background()
	for id, r := range w.readings {
		u, err := table.Upload(ctx, id)
		if err != nil {
			w.Fatal(err)
		}
		c := u.Counts
		if u.Status != events.Live || w.settled[id] > 1 || len(u.Rejects) != 1 {
			w.Fatalf("upload %s is %s, and %d were told so; it has %d rejects: %+v", id, u.Status, w.settled[id], len(u.Rejects), c)
		}
		want := events.Counts{Rows: r.Rows, Rejected: 1, Batches: r.Batches, BatchesApplied: r.Batches, Applied: c.Applied, Superseded: r.Rows - 1 - c.Applied}
		if diff := gocmp.Diff(want, c); diff != "" {
			w.Fatalf("counts (-want +got):\n%s", diff)
		}
	}
	team, err := table.Team(ctx, w.prefix, 100)
	if err != nil {
		w.Fatal(err)
	}
	team = slices.DeleteFunc(team, func(f events.Favorite) bool { return !strings.HasPrefix(f.Person, w.prefix) })
	maps.DeleteFunc(w.want, func(_ string, f events.Favorite) bool { return f.Flavor == "" })
	want := slices.SortedFunc(maps.Values(w.want), func(a, b events.Favorite) int { return cmp.Compare(a.Person, b.Person) })
	if diff := gocmp.Diff(want, slices.Clip(team)); diff != "" && len(want)+len(team) > 0 {
		w.Fatalf("team (-want +got):\n%s", diff)
	}
	records, err := stream.Drain(ctx)
	if err != nil {
		w.Fatal(err)
	}
	all, err := changes(records)
	if err != nil {
		w.Fatal(err)
	}
	w.checkChanges(all, want)
}

// checkChanges: the changes of each person are a chain without gaps that ends at the table.
func (w *world) checkChanges(all []events.Change, team []events.Favorite) {
	all = slices.DeleteFunc(all, func(c events.Change) bool { return !strings.HasPrefix(c.Person, w.prefix) }) // of a run that failed
	slices.SortFunc(all, func(a, b events.Change) int { return cmp.Compare(a.Version, b.Version) })
	has := map[string]string{}
	for _, c := range all {
		if c.Previous != has[c.Person] || c.Flavor == c.Previous {
			w.Fatalf("%s had %q, and then this is announced: %+v", c.Person, has[c.Person], c)
		}
		has[c.Person] = c.Flavor
	}
	maps.DeleteFunc(has, func(_, flavor string) bool { return flavor == "" })
	want := map[string]string{}
	for _, f := range team {
		want[f.Person] = f.Flavor
	}
	if diff := gocmp.Diff(want, has); diff != "" {
		w.Fatalf("the changes do not add up to the table (-want +got):\n%s", diff)
	}
}
