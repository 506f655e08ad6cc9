package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/aws/topics"
	"github.com/flavorless/flavorless/internal/s3store"
	"github.com/flavorless/flavorless/test/bench/fakeaws"
)

// The promised ratios: publish requests, to the fewest that can carry as many bytes; write units, to those of the
// changed rows and the ledger; CPU time of the client per row, to that of a conditional UpdateItem. And the promised
// cost, in US dollars, of the units that a million rows take of which 1 % changed.
const (
	promisedRequests = 1.2
	promisedWrites   = 1.1
	promisedCPU      = 0.1
	promisedUnits    = 0.02
)

// load is the resources that one upload took.
type load struct {
	name              string
	rows, size        int // of the file
	changed           int // number of flavors that differ from the stored ones
	ingest, apply     fakeaws.Counts
	ingestCPU, cpu    time.Duration
	messages, applies int // messages, and invocations of apply with two messages each
}

// rows counts the requests and capacity units of an upload, and measures the CPU time of the client: for new people,
// and for the same people with some changed flavors. The reference is a conditional UpdateItem per row, the obvious
// first implementation.
func rows(ctx context.Context, _ string, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("rows", flag.ContinueOnError)
	n := flags.Int("rows", 1_000_000, "`number` of rows of each upload")
	sample := flags.Int("sample", 50_000, "`number` of rows that are written by one conditional UpdateItem each")
	if err := flags.Parse(args); err != nil {
		return err
	}
	services, err := startFake(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, services.stop()) }()
	var loads []load
	team := newPeople(*n)
	for i, l := range []load{
		{name: "all new", changed: *n}, {name: "100 % changed", changed: *n}, {name: "10 % changed", changed: *n / 10},
		{name: "1 % changed", changed: *n / 100}, {name: "nothing changed"},
	} {
		l.rows = *n
		progress("%d rows, %s", *n, l.name)
		if err := l.run(ctx, services, team.file(l.changed, i), i); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		loads = append(loads, l)
	}
	progress("%d rows by a conditional UpdateItem each", *sample)
	single, err := singles(ctx, services, *sample)
	if err != nil {
		return err
	}
	reads, err := countReads(ctx, services)
	if err != nil {
		return err
	}
	return errors.Join(
		showRows(out, loads, single), showReads(out, reads), showCost(out, loads, reads), showIdle(ctx, out))
}

// all returns what ingest and apply took together.
func (l load) all() fakeaws.Counts { return l.ingest.Add(l.apply) }

// units returns the write units of the favorites, those of the ledger with its index and the comparisons, and all read
// units.
func (l load) units() (favorites, ledger, reads float64) {
	for name, u := range l.all().Units {
		if reads += u.Read; name == "favorites" {
			favorites += u.Write
		} else {
			ledger += u.Write + u.Index
		}
	}
	return favorites, ledger, reads
}

// unitCost returns the cost of the capacity units in US dollars.
func (l load) unitCost() float64 {
	favorites, ledger, reads := l.units()
	return (favorites+ledger)*priceWrite + reads*priceRead
}

// people are people in random order, always the same, and their flavors.
type people struct {
	order   []int
	flavors []uint8
}

func newPeople(n int) people {
	return people{order: rand.New(rand.NewPCG(1, 2)).Perm(n), flavors: make([]uint8, n)}
}

// file changes the flavors of some people, and returns the export of all of them.
func (p people) file(changed, seed int) []byte {
	for _, n := range rand.New(rand.NewPCG(3, uint64(seed))).Perm(len(p.order))[:changed] {
		p.flavors[n]++
	}
	names := []string{"mint chocolate chip", "cookie dough", "rocky road", "pistachio", "crème brûlée"}
	var b bytes.Buffer
	b.WriteString("person,flavor\n")
	for _, n := range p.order {
		fmt.Fprintf(&b, "person %07d,%s\n", n, names[(n+int(p.flavors[n]))%len(names)])
	}
	return b.Bytes()
}

// run runs ingest for an upload, and then apply for its messages, two at a time.
func (l *load) run(ctx context.Context, services *fake, file []byte, n int) error {
	o := events.Object{
		Bucket: "bench", Key: fmt.Sprintf("uploads/%d.csv", n), ETag: "e", Sequencer: "01", Size: int64(len(file)),
		Time: time.UnixMilli(1_800_000_000_000 + int64(n)),
	}
	if err := services.put(o.Bucket, o.Key, file); err != nil {
		return err
	}
	if _, err := services.counts(); err != nil {
		return err
	}
	to, log := access(services.url), slog.New(slog.DiscardHandler)
	store, table := s3store.NewClient(to), newTable(services.url)
	reports := s3store.Reports{Client: store, Bucket: "reports"}
	ingester := ingest.New(ingest.Config{
		Objects: s3store.Objects{Client: store}, Updates: topics.Topic{Client: topics.Client(to), ARN: topicARN},
		Ledger:  table,
		Reports: reports, Clock: time.Now, Log: log,
		Sorting: ingest.Sorting{
			From: ingest.DefaultSortFrom, Dir: os.TempDir(), MaxDisk: func() int64 { return 4 << 30 }, Group: dynamo.ShardOf,
		},
	})
	l.size = len(file)
	start := cpuTime()
	if err := ingester.Ingest(ctx, o); err != nil {
		return err
	}
	l.ingestCPU = cpuTime() - start
	var err error
	if l.ingest, err = services.counts(); err != nil {
		return err
	}
	messages, err := services.messages()
	if err != nil {
		return err
	}
	l.messages = len(messages)
	applier := &ingest.Applier{Table: table, Copies: reports, Group: dynamo.ShardOf, Log: log}
	start = cpuTime()
	for len(messages) > 0 {
		some := messages[:min(2, len(messages))]
		messages = messages[len(some):]
		bodies := make([][]byte, len(some))
		for i, m := range some {
			bodies[i] = []byte(m)
		}
		if err := errors.Join(applier.Apply(ctx, bodies)...); err != nil {
			return err
		}
		l.applies++
	}
	l.cpu = cpuTime() - start
	if l.apply, err = services.counts(); err != nil {
		return err
	}
	u, err := table.Upload(ctx, o.UploadID())
	want := int64(l.changed)
	if l.size < ingest.DefaultSortFrom { // the file is not compared
		want = int64(l.rows)
	}
	if err == nil && (u.Status != events.Live || u.Counts.Applied != want || u.Counts.Unchanged != int64(l.rows)-want) {
		err = fmt.Errorf("the upload did not apply %d rows and leave the others unchanged: %+v", want, u)
	}
	return err
}

// singles writes rows with one conditional UpdateItem each, 16 at a time, and returns the CPU time per row.
func singles(ctx context.Context, services *fake, n int) (time.Duration, error) {
	client := dynamo.Client(access(services.url))
	start := cpuTime()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	version := strings.Repeat("v", 85)
	for i := range n {
		g.Go(func() error {
			_, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
				TableName: awssdk.String("favorites"),
				Key: map[string]types.AttributeValue{
					"shard":  &types.AttributeValueMemberN{Value: "99"},
					"person": &types.AttributeValueMemberS{Value: fmt.Sprintf("person %07d", i)},
				},
				UpdateExpression:    awssdk.String("SET #flavor = :0, #version = :1 REMOVE #expires"),
				ConditionExpression: awssdk.String("attribute_not_exists(#person) OR #version < :1"),
				ExpressionAttributeNames: map[string]string{"#flavor": "flavor", "#version": "version", "#expires": "expires",
					"#person": "person"},
				ExpressionAttributeValues: map[string]types.AttributeValue{
					":0": &types.AttributeValueMemberS{Value: "cookie dough"}, ":1": &types.AttributeValueMemberS{Value: version},
				},
			})
			return err
		})
	}
	err := g.Wait()
	return (cpuTime() - start) / time.Duration(n), err
}

// publishFloor returns the fewest requests that can carry a number of bytes.
func publishFloor(bytes int) int { return (bytes + ingest.MaxRequest - 1) / ingest.MaxRequest }

func showRows(out io.Writer, loads []load, single time.Duration) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	var missed []error
	fmt.Fprintf(table, "%d rows\tpublish requests\tof the packed floor\twrite units: favorites\tledger\t"+
		"of what had to change\tread units\tunits in $\tCPU a row\tof UpdateItem's, %v\t\n",
		loads[0].rows, single.Round(100*time.Nanosecond))
	for _, l := range loads {
		publish := l.all().Calls["PublishBatch"]
		favorites, ledger, reads := l.units()
		requests := float64(publish.Requests) / float64(publishFloor(publish.Bytes))
		writes := (favorites + ledger) / (float64(l.changed) + ledger)
		perRow := l.cpu / time.Duration(l.rows)
		cpu := float64(perRow) / float64(single)
		fmt.Fprintf(table, "%s\t%d\t%.2f ×\t%.0f\t%.0f\t%.3f ×\t%.0f\t%.4f\t%v\t%.1f %%\t\n", l.name, publish.Requests,
			requests, favorites, ledger, writes, reads, l.unitCost(), perRow.Round(10*time.Nanosecond), 100*cpu)
		units := math.Inf(1)
		if l.changed <= l.rows/100 {
			units = promisedUnits
		}
		for _, p := range []struct {
			what          string
			got, promised float64
		}{
			{"the ratio of publish requests", requests, promisedRequests},
			{"the ratio of write units", writes, promisedWrites},
			{"the ratio of CPU a row", cpu, promisedCPU},
			{"the cost of the units of a million rows", l.unitCost() / float64(l.rows) * million, units},
		} {
			if p.got > p.promised {
				missed = append(missed, fmt.Errorf("%s: %s: %.3f, more than %.2f", l.name, p.what, p.got,
					p.promised))
			}
		}
	}
	fmt.Fprintf(table, "promised\t\t%.1f ×\t\t\t%.1f ×\t\t\t%.0f %%\t\n", promisedRequests, promisedWrites,
		100*promisedCPU)
	return errors.Join(append(missed, table.Flush())...)
}

// readCounts has the counts of reads by the API.
type readCounts struct {
	lookup, team fakeaws.Counts
	teamBytes    int // of the answer, compressed
}

// teamPage is the default number of people in a page of GET /team.
const teamPage = 1000

func countReads(ctx context.Context, services *fake) (r readCounts, err error) {
	table := newTable(services.url)
	if _, err = services.counts(); err != nil {
		return r, err
	}
	if _, err = table.Lookup(ctx, "person 0000001"); err != nil {
		return r, err
	}
	if r.lookup, err = services.counts(); err != nil {
		return r, err
	}
	team, err := table.Team(ctx, "", teamPage)
	if err == nil && len(team) != teamPage {
		err = fmt.Errorf("the page has %d people, want %d", len(team), teamPage)
	}
	if err != nil {
		return r, err
	}
	var page bytes.Buffer
	zip := gzip.NewWriter(&page)
	for _, f := range team {
		fmt.Fprintf(zip, "%q:%q,", f.Person, f.Flavor)
	}
	if err := zip.Close(); err != nil {
		return r, err
	}
	r.teamBytes = page.Len()
	r.team, err = services.counts()
	return r, err
}

func showReads(out io.Writer, r readCounts) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\n\tcalls\tread units\t\n")
	fmt.Fprintf(table, "GET /ice-cream/{person}\t%d GetItem\t%.0f\t\n", r.lookup.Calls["GetItem"].Requests,
		r.lookup.Units["favorites"].Read)
	fmt.Fprintf(table, "GET /team, %d people\t%d Query\t%.0f\t\n", teamPage, r.team.Calls["Query"].Requests,
		r.team.Units["favorites"].Read)
	return table.Flush()
}
