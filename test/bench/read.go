package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// promisedRatio is the promised ratio of rows per second of CPU time: reading, validating and packing, and the bare
// parser.
const promisedRatio = 0.6

// reading is a format to measure. Bare only parses, and returns the number of rows.
type reading struct {
	name     string // of a file
	bare     func(body []byte) (rows int, err error)
	promised bool
}

var readings = []reading{
	{"team.csv", bareCSV, true},
	{"team.ndjson", bareObjects, true},
	{"object.json", bareMembers, true},
	{"array.json", bareObjects, false},
}

// read measures both in turns, so that they run under the same conditions.
func read(_ context.Context, _ string, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("read", flag.ContinueOnError)
	rows := flags.Int("rows", 500_000, "`number` of rows in each file")
	repeat := flags.Int("repeat", 9, "`number` of measurements; medians are shown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "file\tread, validate, pack: rows/CPU-s\tbare parser: rows/CPU-s\tratio\tpromised\t")
	var missed []error
	for _, r := range readings {
		if flags.NArg() > 0 && !slices.Contains(flags.Args(), r.name) {
			continue
		}
		body := file(r.name, *rows)
		var ours, bare, ratios []float64
		for range *repeat {
			o, err := rate(*rows, func() (int, error) { return pack(body, r.name) })
			if err != nil {
				return fmt.Errorf("reading %s: %w", r.name, err)
			}
			b, err := rate(*rows, func() (int, error) { return r.bare(body) })
			if err != nil {
				return fmt.Errorf("parsing %s: %w", r.name, err)
			}
			ours, bare, ratios = append(ours, o), append(bare, b), append(ratios, o/b)
		}
		promised := ""
		if r.promised {
			promised = fmt.Sprintf("%.0f %%", 100*promisedRatio)
			if ratio := median(ratios); ratio < promisedRatio {
				missed = append(missed, fmt.Errorf("%s is read at %.0f %% of the bare parser's rate, less than %s", r.name,
					100*ratio, promised))
			}
		}
		fmt.Fprintf(table, "%s\t%.2f M\t%.2f M\t%.0f %%\t%s\t\n", r.name, median(ours)/1e6, median(bare)/1e6,
			100*median(ratios), promised)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return errors.Join(missed...)
}

// rate returns rows per second of CPU time, including garbage collection.
func rate(want int, run func() (int, error)) (float64, error) {
	runtime.GC()
	start := cpuTime()
	rows, err := run()
	if err == nil && rows != want {
		err = fmt.Errorf("got %d rows, want %d", rows, want)
	}
	return float64(rows) / (cpuTime() - start).Seconds(), err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // never fails with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pack reads a file and packs its rows into messages, as ingest does.
func pack(body []byte, name string) (rows int, err error) {
	origin, err := events.Object{Bucket: "bench", Key: name, ETag: "e", Sequencer: "55aed6dcd90281e5",
		Time: time.UnixMilli(1)}.Origin()
	if err != nil {
		return 0, err
	}
	batch := events.NewBatchWriter(origin)
	published := 0
	reading, err := ingest.Read(bytes.NewReader(body), name, ingest.Options{}, func(u events.Update) error {
		if batch.Add(u); batch.Size() >= ingest.MaxMessage-events.MaxEncodedRow-256 {
			published += len(batch.Message().Body)
		}
		return nil
	}, func(r *events.Reject) error { return fmt.Errorf("line %d: %s", r.Line, r.Reason) })
	if reading.Failure != nil {
		return 0, errors.New(reading.Failure.Reason)
	}
	return int(reading.Rows), err
}

func bareCSV(body []byte) (rows int, err error) {
	r := csv.NewReader(bytes.NewReader(body))
	r.ReuseRecord = true
	for rows = -1; ; rows++ { // without the header
		if _, err := r.Read(); err != nil {
			return rows, end(err)
		}
	}
}

// kept keeps the compiler from optimizing away strings that are not used.
var kept string

// bareObjects reads the members person and flavor of objects.
func bareObjects(body []byte) (rows int, err error) {
	err = bareJSON(body, func(t jsontext.Token, d *jsontext.Decoder) error {
		switch t.String() {
		case "person":
			rows++
		case "flavor":
		default:
			return nil
		}
		value, err := d.ReadToken()
		if err == nil {
			kept = value.String()
		}
		return err
	})
	return rows, err
}

// bareMembers reads an object whose members are person and flavor.
func bareMembers(body []byte) (rows int, err error) {
	strs := 0
	err = bareJSON(body, func(t jsontext.Token, _ *jsontext.Decoder) error {
		kept = t.String()
		strs++
		return nil
	})
	return strs / 2, err
}

// bareJSON calls take with each string.
func bareJSON(body []byte, take func(jsontext.Token, *jsontext.Decoder) error) error {
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true))
	for {
		t, err := d.ReadToken()
		if err == nil && t.Kind() == jsontext.KindString {
			err = take(t, d)
		}
		if errors.Is(err, io.EOF) && kept == "" {
			return errors.New("no text")
		}
		if err != nil {
			return end(err)
		}
	}
}

func end(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// file returns a file of n rows, of 30 bytes each as CSV. A tenth of the rows has quotes or is not ASCII.
func file(name string, n int) []byte {
	var b bytes.Buffer
	var write func(person, flavor string)
	var between, after string
	switch name {
	case "team.csv":
		b.WriteString("person,flavor\n")
		write = func(person, flavor string) { b.WriteString(csvField(person) + "," + csvField(flavor) + "\n") }
	case "object.json":
		b.WriteString("{\n  ")
		write = func(person, flavor string) { fmt.Fprintf(&b, "%s: %s", quote(person), quote(flavor)) }
		between, after = ",\n  ", "\n}\n"
	default:
		write = func(person, flavor string) {
			fmt.Fprintf(&b, `{"person":%s,"flavor":%s}`, quote(person), quote(flavor))
		}
		between, after = "\n", "\n"
		if name == "array.json" {
			b.WriteString("[\n")
			between, after = ",\n", "\n]\n"
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same file every time
	for i := range n {
		if i > 0 {
			b.WriteString(between)
		}
		write(row(random))
	}
	b.WriteString(after)
	return b.Bytes()
}

var (
	givenNames = []string{"andy", "bill", "cedric", "dan", "eileen", "liz", "marija", "shane", "alexandra", "jo"}
	flavors    = []string{"mint chocolate chip", "cookie dough", "pistachio", "rocky road", "vanilla", "butter pecan",
		"strawberry", "dulce de leche"}
	oddFlavors = []string{"crème brûlée", `salt, "caramel"`, "straciatella, double", "抹茶"}
)

// row draws names of varying lengths in random order, because regular input lets branch prediction flatter a parser.
func row(random *rand.Rand) (person, flavor string) {
	person = fmt.Sprintf("%s.%c-%d", givenNames[random.IntN(len(givenNames))], 'a'+rune(random.IntN(26)),
		random.IntN(100_000_000))
	if random.IntN(10) == 0 {
		return person, oddFlavors[random.IntN(len(oddFlavors))]
	}
	return person, flavors[random.IntN(len(flavors))]
}

func csvField(s string) string {
	if strings.ContainsAny(s, `",`) {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

func quote(s string) string {
	b, _ := jsontext.AppendQuote(nil, s)
	return string(b)
}
