package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/sqlite"
	"github.com/flavorless/flavorless/internal/local"
)

// The promised ratios of the rates with and without sorting. Rates are rows per second from the PUT until the upload is
// live.
const (
	promisedExport    = 5
	promisedFirstLoad = 2.5
)

// export measures what sorting and comparing gain for exports of everybody, in random order: the first one, and one of
// which 1 % changed since the last. Both are measured with sorting and without it, in turns.
func export(ctx context.Context, dir string, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	people := flags.Int("people", 5_000_000, "`number` of people in the file")
	repeat := flags.Int("repeat", 1, "`number` of measurements; medians are shown")
	sortedOnly := flags.Bool("sorted", false, "measure with sorting only, and compare with nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	progress("filling a table with %d people", *people)
	filled := filepath.Join(dir, "filled.db")
	if err := fillTable(ctx, filled, favorites(*people, 0)); err != nil {
		return err
	}
	loads := []struct {
		name     string
		table    string // copied to the data folder before the upload; none if empty
		file     []byte
		promised float64
	}{
		{"first load", "", favorites(*people, 0), promisedFirstLoad},
		{"reload, 1 % changed", filled, favorites(*people, *people/100), promisedExport},
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%d people\tsorted: rows/s\tnot sorted: rows/s\tratio\tpromised\t\n", *people)
	var missed []error
	for _, l := range loads {
		var sorted, unsorted []float64
		for range *repeat {
			for _, way := range []struct {
				sortFrom int64
				rates    *[]float64
			}{{0, &sorted}, {-1, &unsorted}} {
				if *sortedOnly && way.sortFrom < 0 {
					unsorted = sorted
					continue
				}
				progress("%s, sort from %d", l.name, way.sortFrom)
				took, err := loadOnce(ctx, dir, l.table, l.file, way.sortFrom)
				if err != nil {
					return err
				}
				*way.rates = append(*way.rates, float64(*people)/took.Seconds())
			}
		}
		ratio := median(sorted) / median(unsorted)
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.1f ×\t%.1f ×\t\n", l.name, median(sorted), median(unsorted), ratio, l.promised)
		if ratio < l.promised && !*sortedOnly {
			missed = append(missed, fmt.Errorf("%s: sorting makes it %.1f times as fast, promised are %.1f", l.name, ratio,
				l.promised))
		}
	}
	return errors.Join(append(missed, table.Flush())...)
}

// loadOnce starts a server on a new data folder, uploads the file, and returns how long it took to be live.
func loadOnce(ctx context.Context, dir, table string, file []byte, sortFrom int64) (took time.Duration, err error) {
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	if table != "" {
		if err := copyFile(filepath.Join(data, "flavorless.db"), table); err != nil {
			return 0, err
		}
	}
	server, err := local.Start(ctx, local.Config{Dir: data, SortFrom: sortFrom, Log: warnings()})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Stop(ctx)) }()
	start := time.Now()
	if _, err := server.S3().PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(server.Info().Bucket), Key: aws.String("uploads/export.csv"), Body: bytes.NewReader(file),
	}); err != nil {
		return 0, err
	}
	uploads := 1
	if table != "" {
		uploads++ // the one that filled it
	}
	u, err := settled(ctx, server, uploads)
	if c := u.Counts; err == nil && (u.Status != events.Live || c.Applied+c.Unchanged != c.Rows) {
		err = fmt.Errorf("the upload did not apply all rows: %+v", u)
	}
	return time.Since(start), err
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// fillTable creates a table with the rows of a file, without changes to announce.
func fillTable(ctx context.Context, path string, file []byte) (err error) {
	db, err := sqlite.Open(sqlite.Config{Path: path, Relaxed: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	o := events.Object{Bucket: "bench", Key: "uploads/filled.csv", ETag: "e", Sequencer: "01", Time: time.UnixMilli(1)}
	origin, err := o.Origin()
	if err != nil {
		return err
	}
	if _, err := db.Begin(ctx, o, false); err != nil {
		return err
	}
	summary := events.ReadSummary{Format: "csv", At: time.Now()}
	in := csv.NewReader(bytes.NewReader(file))
	in.ReuseRecord = true
	if _, err := in.Read(); err != nil {
		return err
	}
	for offset, ended := int64(0), false; !ended; {
		b := events.Batch{Origin: origin, First: offset}
		for len(b.Rows) < 1_000_000 {
			record, err := in.Read()
			if ended = errors.Is(err, io.EOF); ended {
				break
			}
			if err != nil {
				return err
			}
			b.Rows = append(b.Rows, events.Update{Offset: offset, Person: record[0], Flavor: record[1]})
			offset++
			summary.Rows++
		}
		if len(b.Rows) > 0 {
			if _, err := db.Apply(ctx, []events.Batch{b}, nil); err != nil {
				return err
			}
			summary.Batches++
		}
	}
	if _, err := db.Seal(ctx, o.UploadID(), summary); err != nil {
		return err
	}
	for {
		records, err := db.Pending(ctx, 1)
		if err != nil || len(records) == 0 {
			return err
		}
		if err := db.Announced(ctx, records[0].Seq); err != nil {
			return err
		}
	}
}
