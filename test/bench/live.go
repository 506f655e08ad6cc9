package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
)

// promisedLive is the promised ratio of the rates: rows from the PUT until the last one can be read, and rows of the
// bare upsert.
const promisedLive = 0.7

// live measures upload to live: from the first byte of the PUT until readers see the last row. The reference is the
// least that the table alone can cost: a bare SQLite upsert of the same rows from memory, in transactions of the same
// size. Both load people in random order, and then the same people, of whom 1 % have another flavor.
func live(ctx context.Context, _ string, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("live", flag.ContinueOnError)
	people := flags.Int("people", 1_000_000, "`number` of people in the file")
	repeat := flags.Int("repeat", 3, "`number` of measurements; medians are shown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	files := [][]byte{favorites(*people, 0), favorites(*people, *people/100)}
	loads := []string{"first load", "reload, 1 % changed"}
	ours, bare, ratios := make([][]float64, 2), make([][]float64, 2), make([][]float64, 2)
	for range *repeat {
		o, err := ourLoads(ctx, files...)
		if err != nil {
			return err
		}
		b, err := bareLoads(files...)
		if err != nil {
			return err
		}
		for i := range loads {
			ours[i] = append(ours[i], float64(*people)/o[i].Seconds())
			bare[i] = append(bare[i], float64(*people)/b[i].Seconds())
			ratios[i] = append(ratios[i], b[i].Seconds()/o[i].Seconds())
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%d people, %d MB\tupload to live: rows/s\tbare SQLite upsert: rows/s\tratio\tpromised\t\n",
		*people, len(files[0])>>20)
	var missed []error
	for i, name := range loads {
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.0f %%\t%.0f %%\t\n", name, median(ours[i]), median(bare[i]),
			100*median(ratios[i]), 100*promisedLive)
		if median(ratios[i]) < promisedLive {
			missed = append(missed, fmt.Errorf("%s: upload to live reaches %.0f %% of the rate of the bare upsert", name,
				100*median(ratios[i])))
		}
	}
	return errors.Join(append(missed, table.Flush())...)
}

// favorites returns a CSV file of people in random order, always the same, of whom some have a changed flavor.
func favorites(people, changed int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	flavors := []string{"mint chocolate chip", "cookie dough", "rocky road", "pistachio", "crème brûlée"}
	var b bytes.Buffer
	b.WriteString("person,flavor\n")
	for i, n := range random.Perm(people) {
		flavor := flavors[n%len(flavors)]
		if i < changed {
			flavor = "vanilla"
		}
		fmt.Fprintf(&b, "person %07d,%s\n", n, flavor)
	}
	return b.Bytes()
}

// ourLoads uploads the files one after the other to a new server, and returns how long each took to be live.
func ourLoads(ctx context.Context, files ...[]byte) (took []time.Duration, err error) {
	dir, err := os.MkdirTemp("", "flavorless-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := local.Start(ctx, local.Config{Dir: filepath.Join(dir, "data"), Log: warnings()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Stop(ctx)) }()
	for i, file := range files {
		start := time.Now()
		if _, err := server.S3().PutObject(ctx, &s3.PutObjectInput{
			Bucket: aws.String(server.Info().Bucket), Key: aws.String(fmt.Sprintf("uploads/%d.csv", i)),
			Body: bytes.NewReader(file),
		}); err != nil {
			return nil, err
		}
		u, err := settled(ctx, server, i+1)
		if err != nil {
			return nil, err
		}
		if u.Status != events.Live || u.Counts.Applied+u.Counts.Unchanged != u.Counts.Rows {
			return nil, fmt.Errorf("the upload did not apply all rows: %+v", u)
		}
		took = append(took, time.Since(start))
		if i == len(files)-1 {
			break
		}
		if err := announced(ctx, server); err != nil { // before the next load begins
			return nil, err
		}
	}
	return took, nil
}

// warnings returns a logger that writes warnings and errors to standard error.
func warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// settled waits until the newest of n uploads is settled.
func settled(ctx context.Context, server *local.Server, n int) (events.Upload, error) {
	for ; ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		uploads, err := server.Uploads(ctx, "", n)
		if err != nil {
			return events.Upload{}, err
		}
		if len(uploads) == n && uploads[0].Status.Settled() {
			return uploads[0], nil
		}
	}
	return events.Upload{}, ctx.Err()
}

// announced waits until the outbox is empty.
func announced(ctx context.Context, server *local.Server) error {
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		if waiting, err := server.HasUnannounced(ctx); err != nil || !waiting {
			return err
		}
	}
	return ctx.Err()
}

// rowsPerTransaction is the number of rows in one transaction of flavorless, with batches of 64 KB.
const rowsPerTransaction = 20_000

func bareLoads(files ...[]byte) (took []time.Duration, err error) {
	dir, err := os.MkdirTemp("", "flavorless-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	conn, err := sqlite.OpenConn(filepath.Join(dir, "bare.db"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, statement := range []string{
		"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA cache_size = -65536",
		"CREATE TABLE favorites (person TEXT PRIMARY KEY, flavor TEXT, version INTEGER) WITHOUT ROWID",
	} {
		if err := sqlitex.ExecuteTransient(conn, statement, nil); err != nil {
			return nil, err
		}
	}
	version := int64(0)
	for _, file := range files {
		rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
		if err != nil {
			return nil, err
		}
		start := time.Now()
		for rows = rows[1:]; len(rows) > 0; {
			n := min(rowsPerTransaction, len(rows))
			if err := bareUpsert(conn, rows[:n], &version); err != nil {
				return nil, err
			}
			rows = rows[n:]
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

func bareUpsert(conn *sqlite.Conn, rows [][]string, version *int64) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	stmt, err := conn.Prepare(`INSERT INTO favorites (person, flavor, version) VALUES (?, ?, ?)
		ON CONFLICT (person) DO UPDATE SET flavor = excluded.flavor,
			version = excluded.version WHERE excluded.version > version`)
	if err != nil {
		return err
	}
	for _, row := range rows {
		*version++
		stmt.BindText(1, row[0])
		stmt.BindText(2, row[1])
		stmt.BindInt64(3, *version)
		if _, err := stmt.Step(); err != nil {
			return err
		}
		if err := stmt.Reset(); err != nil {
			return err
		}
	}
	return nil
}
