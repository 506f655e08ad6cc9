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
// changed rows and the ledger; CPU time of the client per row, to that of a conditional UpdateItem.
const (
	promisedRequests = 1.2
	promisedWrites   = 1.1
	promisedCPU      = 0.1
)

// load is the resources that one upload took.
type load struct {
	name              string
	rows              int
	flavors           int // number of flavors that differ from the stored ones
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
	for i, changed := range []int{0, *n / 10, *n / 100} {
		l := load{name: []string{"all new", "10 % changed", "1 % changed"}[i], rows: *n, flavors: changed}
		if i == 0 {
			l.flavors = *n
		}
		progress("%d rows, %s", *n, l.name)
		if err := l.run(ctx, services, favorites(*n, changed), i); err != nil {
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
	ingester := ingest.New(ingest.Config{
		Objects: s3store.Objects{Client: store}, Updates: topics.Topic{Client: topics.Client(to), ARN: topicARN},
		Ledger:  table,
		Reports: s3store.Reports{Client: store, Bucket: "reports"}, Clock: time.Now, Log: log,
	})
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
	applier := &ingest.Applier{Table: table, Log: log}
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
	if err == nil && (u.Status != events.Live || u.Counts.Applied != int64(l.rows)) {
		err = fmt.Errorf("the upload did not apply all rows: %+v", u)
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
		"of what had to change\tread units\tCPU a row\tof UpdateItem's, %v\t\n",
		loads[0].rows, single.Round(100*time.Nanosecond))
	for _, l := range loads {
		all := l.ingest.Add(l.apply)
		publish, favorites, ledger := all.Calls["PublishBatch"], all.Units["favorites"], all.Units["uploads"]
		ledgerUnits := ledger.Write + ledger.Index
		requests := float64(publish.Requests) / float64(publishFloor(publish.Bytes))
		// Every row has to be written, because at least its version is newer; see docs/performance.md.
		writes := (favorites.Write + ledgerUnits) / (float64(l.rows) + ledgerUnits)
		perRow := l.cpu / time.Duration(l.rows)
		cpu := float64(perRow) / float64(single)
		fmt.Fprintf(table, "%s\t%d\t%.2f ×\t%.0f\t%.0f\t%.3f ×\t%.0f\t%v\t%.1f %%\t\n", l.name, publish.Requests, requests,
			favorites.Write, ledgerUnits, writes, favorites.Read+ledger.Read, perRow.Round(10*time.Nanosecond), 100*cpu)
		for _, p := range []struct {
			what          string
			got, promised float64
		}{
			{"publish requests", requests, promisedRequests},
			{"write units", writes, promisedWrites},
			{"CPU a row", cpu, promisedCPU},
		} {
			if p.got > p.promised {
				missed = append(missed, fmt.Errorf("%s: the ratio of %s is %.3f, more than %.2f", l.name, p.what, p.got,
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
