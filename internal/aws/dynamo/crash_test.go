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
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/test/dynamolocal"
)

// TestKilledAnywhere runs concurrent calls of Begin, Seal and Apply for overlapping uploads. Each may be killed before
// or after any of its requests reaches the service, unfinished work is delivered again, and some work is delivered
// twice. Some uploads compare, so others may have to be repaired. In the end the table, the counts and the changes are
// complete and without duplicates.
func TestKilledAnywhere(t *testing.T) {
	endpoint := emulator.Endpoint(t)
	tables := dynamolocal.Create(t, dynamodb.New(dynamolocal.Options(endpoint)), fmt.Sprintf("t%d", names.Add(1)))
	stream := dynamolocal.NewStream(endpoint, tables.Favorites)
	client := ownClient(t)
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		m := &model{
			T: t, endpoint: endpoint, tables: tables, prefix: fmt.Sprintf("run %d/", run),
			day: time.Duration(run) * 48 * time.Hour, client: client,
			settled: map[string]int{}, want: map[string]events.Favorite{}, summaries: map[string]events.ReadSummary{},
			copies: map[events.Origin][]events.Update{},
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "uploads") {
			m.upload(fmt.Sprintf("%s%d.csv", m.prefix, i))
		}
		for len(m.jobs) > 0 {
			m.step()
		}
		m.check(stream)
	})
}

// model is one run: the work that remains, and the expected state.
type model struct {
	*rapid.T
	endpoint  string
	tables    dynamolocal.Tables
	prefix    string        // of the names in this run
	day       time.Duration // of the uploads; runs are days apart, because few uploads of a day may compare
	client    *http.Client
	jobs      []job
	summaries map[string]events.ReadSummary     // by upload
	want      map[string]events.Favorite        // by person
	copies    map[events.Origin][]events.Update // rows of comparing uploads

	mu      sync.Mutex
	settled map[string]int // how often a call returned the settled record, by upload
}

// job is a call that is repeated until it succeeds. Then the next jobs can be done.
type job struct {
	call func(ctx context.Context, table *dynamo.Table) error
	next []job
}

func (m *model) draw(label string, most int) int { return rapid.IntRange(0, most).Draw(m.T, label) }

// repair implements events.Repair.
func (m *model) repair(_ context.Context, newer []events.Origin, batches []events.Batch) (all []events.Batch, _ error) {
	for _, origin := range newer {
		repaired := events.Batch{Origin: origin}
		for _, row := range m.copies[origin] {
			same := func(u events.Update) bool { return u.Person == row.Person }
			if slices.ContainsFunc(batches, func(b events.Batch) bool {
				return b.Origin < origin && slices.ContainsFunc(b.Rows, same)
			}) {
				repaired.Rows = append(repaired.Rows, row)
			}
		}
		all = append(all, repaired)
	}
	return all, nil
}

// upload adds the jobs of an upload, some of them twice. The batches of a comparing upload are published after it is
// announced, and no person occurs twice in it.
func (m *model) upload(key string) {
	at := time.UnixMilli(1_700_000_000_000 + int64(m.draw("ms", 1))).Add(m.day)
	o := events.Object{Bucket: "b", Key: key, ETag: "e", Sequencer: "01", Size: 1, Time: at}
	origin, err := o.Origin()
	if err != nil {
		m.Fatal(err)
	}
	compare := rapid.Bool().Draw(m.T, "compare")
	people := rapid.Permutation([]int{0, 1, 2, 3, 4, 5}).Draw(m.T, "people")
	var jobs []job
	rejects := []events.Reject{{Line: 2, Code: events.TooLong}}
	r := events.ReadSummary{Format: "csv", Rows: 1, Rejected: 1, Rejects: rejects, At: time.UnixMilli(1_700_000_001_000)}
	for i := range m.draw("batches", 3) {
		b := events.Batch{Origin: origin, First: int64(i) * 1000, Compare: compare}
		for j := range 1 + m.draw("rows", 5) {
			person := m.draw("person", 5)
			if compare {
				if len(people) == 0 {
					break
				}
				person, people = people[0], people[1:]
			}
			row := events.Update{Offset: b.First + int64(j), Person: m.prefix + string(rune('a'+person))}
			if row.Flavor = []string{"mint", "nut", "fig", ""}[m.draw("flavor", 3)]; row.Flavor == "" {
				row.Remove = true
			}
			b.Rows = append(b.Rows, row)
			if compare {
				m.copies[origin] = append(m.copies[origin], row)
			}
			if v := origin.At(row.Offset); v > m.want[row.Person].Version {
				m.want[row.Person] = events.Favorite{Person: row.Person, Flavor: row.Flavor, Version: v}
			}
		}
		if len(b.Rows) == 0 {
			break
		}
		r.Rows += int64(len(b.Rows))
		r.Batches++
		for range 1 + m.draw("deliveries", 1) {
			jobs = append(jobs, job{call: func(ctx context.Context, table *dynamo.Table) error {
				results, err := table.Apply(ctx, []events.Batch{b}, m.repair)
				for _, result := range results {
					m.countSettled(result.Settled)
				}
				return err
			}})
		}
	}
	m.summaries[origin.UploadID()] = r
	for range 1 + m.draw("events", 1) {
		jobs = append(jobs, job{call: func(ctx context.Context, table *dynamo.Table) error {
			if _, err := table.Begin(ctx, o, false); err != nil {
				return err
			}
			settled, err := table.Seal(ctx, origin.UploadID(), r)
			m.countSettled(settled)
			return err
		}})
	}
	if compare {
		jobs = []job{{next: jobs, call: func(ctx context.Context, table *dynamo.Table) error {
			if _, err := table.Begin(ctx, o, false); err != nil {
				return err
			}
			announced, err := table.BeginComparing(ctx, origin.UploadID())
			if err == nil && !announced {
				err = errors.New("BeginComparing = false, want true")
			}
			return err
		}}}
	}
	m.jobs = append(m.jobs, jobs...)
}

func (m *model) countSettled(u *events.Upload) {
	if u == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settled[u.ID]++
}

var errKilled = errors.New("the function was killed")

// step runs some jobs concurrently.
func (m *model) step() {
	m.jobs = rapid.Permutation(m.jobs).Draw(m.T, "order")
	n := 1 + m.draw("at once", min(2, len(m.jobs)-1))
	now := m.jobs[:n]
	m.jobs = m.jobs[n:]
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i, job := range now {
		client := &killedClient{next: m.client, after: rapid.Bool().Draw(m.T, "after the call")}
		client.left.Store(1000)
		if rapid.Bool().Draw(m.T, "killed") {
			client.left.Store(int64(m.draw("calls", 12)))
		}
		wg.Go(func() { errs[i] = job.call(context.Background(), m.table(client)) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			if !errors.Is(err, errKilled) {
				m.Fatal(err)
			}
			m.jobs = append(m.jobs, now[i])
		} else {
			m.jobs = append(m.jobs, now[i].next...)
		}
	}
}

func (m *model) table(client dynamodb.HTTPClient) *dynamo.Table {
	o := dynamolocal.Options(m.endpoint)
	o.HTTPClient, o.RetryMaxAttempts = client, 1
	return dynamo.New(dynamo.Config{
		Client: dynamodb.New(o), Favorites: m.tables.Favorites, Uploads: m.tables.Uploads, Comparisons: m.tables.Comparisons,
	})
}

// ownClient returns a client with connections of its own: closing a test server closes those of the default client.
func ownClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// killedClient is the HTTP client of a function that is killed after some requests, either before or after the last
// request reaches the service.
type killedClient struct {
	next  *http.Client
	left  atomic.Int64
	after bool
}

func (c *killedClient) Do(r *http.Request) (*http.Response, error) {
	left := c.left.Add(-1)
	if left < 0 && (!c.after || left != -1) {
		return nil, errKilled
	}
	answer, err := c.next.Do(r.WithContext(context.WithoutCancel(r.Context())))
	if err == nil && left < 0 {
		answer.Body.Close()
		return nil, errKilled
	}
	return answer, err
}

func (m *model) check(stream *dynamolocal.Stream) {
	table := m.table(m.client)
	ctx := context.Background()
	for id, r := range m.summaries {
		u, err := table.Upload(ctx, id)
		if err != nil {
			m.Fatal(err)
		}
		c := u.Counts
		if u.Status != events.Live || m.settled[id] > 1 || len(u.Rejects) != 1 {
			m.Fatalf("upload %s is %s with %d rejects, settled by %d calls; want live, 1 reject, at most 1 call: %+v",
				id, u.Status, len(u.Rejects), m.settled[id], c)
		}
		want := events.Counts{
			Rows: r.Rows, Rejected: 1, Batches: r.Batches, BatchesApplied: r.Batches,
			Applied: c.Applied, Unchanged: c.Unchanged, Superseded: r.Rows - 1 - c.Applied - c.Unchanged,
		}
		if diff := gocmp.Diff(want, c); diff != "" {
			m.Fatalf("counts (-want +got):\n%s", diff)
		}
	}
	team, err := table.Team(ctx, m.prefix, 100)
	if err != nil {
		m.Fatal(err)
	}
	team = slices.DeleteFunc(team, func(f events.Favorite) bool { return !strings.HasPrefix(f.Person, m.prefix) })
	maps.DeleteFunc(m.want, func(_ string, f events.Favorite) bool { return f.Flavor == "" })
	want := slices.SortedFunc(maps.Values(m.want), func(a, b events.Favorite) int {
		return cmp.Compare(a.Person,
			b.Person)
	})
	var versions gocmp.Options
	if len(m.copies) > 0 { // the stored version may be that of an older upload
		versions = gocmp.Options{cmpopts.IgnoreFields(events.Favorite{}, "Version")}
	}
	if diff := gocmp.Diff(want, slices.Clip(team), versions); diff != "" && len(want)+len(team) > 0 {
		m.Fatalf("team (-want +got):\n%s", diff)
	}
	records, err := stream.Drain(ctx)
	if err != nil {
		m.Fatal(err)
	}
	all, err := changes(records)
	if err != nil {
		m.Fatal(err)
	}
	m.checkChanges(all, want)
}

// checkChanges checks that the changes of each person form a chain that ends with the stored flavor.
func (m *model) checkChanges(all []events.Change, team []events.Favorite) {
	// Other prefixes are those of a run that failed.
	all = slices.DeleteFunc(all, func(c events.Change) bool { return !strings.HasPrefix(c.Person, m.prefix) })
	slices.SortFunc(all, func(a, b events.Change) int { return cmp.Compare(a.Version, b.Version) })
	has := map[string]string{}
	for _, c := range all {
		if c.Previous != has[c.Person] || c.Flavor == c.Previous {
			m.Fatalf("%s had %q before the change %+v", c.Person, has[c.Person], c)
		}
		has[c.Person] = c.Flavor
	}
	maps.DeleteFunc(has, func(_, flavor string) bool { return flavor == "" })
	want := map[string]string{}
	for _, f := range team {
		want[f.Person] = f.Flavor
	}
	if diff := gocmp.Diff(want, has); diff != "" {
		m.Fatalf("flavors after all changes (-want +got):\n%s", diff)
	}
}
