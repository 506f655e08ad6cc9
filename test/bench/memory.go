package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
)

// The promises, for every file.
const (
	promisedHeap     = 64 << 20  // of the ingest stage
	promisedResident = 256 << 20 // of the whole process
)

// large is one file to measure.
type large struct {
	name   string
	size   int64 // about, decompressed
	write  func(w io.Writer, size int64) error
	status events.Status // that it should end with
}

// larges returns long files, and the worst file of each format. Gb is the number of bytes that stand for a gigabyte.
func larges(gb int64) []large {
	repeated := func(start, pattern string) func(io.Writer, int64) error {
		return func(w io.Writer, size int64) error {
			return repeat(w, start, strings.Repeat(pattern, 1+(64<<10)/len(pattern)), size)
		}
	}
	files := []large{
		{"1 GB of CSV, team.csv", gb, csvRows, events.Live},
		{"gzip, team.csv.gz", gb, csvRows, events.Live},
		{"zstd, team.csv.zst", gb, csvRows, events.Live},
		{"1 GB of NDJSON, team.ndjson", gb, ndjsonRows, events.Live},
		{"gzip, team.ndjson.gz", gb, ndjsonRows, events.Live},
		{"zstd, team.ndjson.zst", gb, ndjsonRows, events.Live},
		{"300 MB in one object, team.json", 3 * gb / 10, members, events.Live},
		{"gzip, team.json.gz", 3 * gb / 10, members, events.Live},
		{"zstd, team.json.zst", 3 * gb / 10, members, events.Live},

		{"a quote never closed, quote.csv", 3 * gb / 10, repeated("person,flavor\nandy,\"", "dan,mint\n"), events.Failed},
		{"one line of commas, commas.csv", 3 * gb / 10, repeated("person,flavor\n", ","), events.Failed},
		{"a string never closed, string.json", 3 * gb / 10, repeated(`{"andy":"`, "x"), events.Failed},
		{"nothing but brackets, nested.json", 3 * gb / 10, repeated("[", "["), events.Failed},
		{"one object in an array, wide.json", 3 * gb / 10, repeated(`[{"a":1`, `,"a":1`), events.Failed},
		{"a line never ended, line.ndjson", 3 * gb / 10, repeated(`{"person":"`, "x"), events.Live},
		{"every row rejected, rejects.csv", 3 * gb / 100, repeated("person,flavor\n", "dan,mint,vanilla\n"), events.Live},
		{"a bomb, bomb.csv.gz", 5 * gb, repeated("person,flavor\nandy,\"", "dan,mint\n"), events.Failed},
		{"a bomb, bomb.ndjson.zst", 5 * gb, repeated(`{"person":"`, "x"), events.Failed},
	}
	return files
}

// memory uploads large and hostile files to the real program, one after the other, and shows its peak resident memory
// during each. It also shows the peak heap of the ingest stage alone with the same file, whose messages are
// discarded.
func memory(ctx context.Context, dir string, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("memory", flag.ContinueOnError)
	gb := flags.Int64("gb", 1000, "`number` of MB that stand for a gigabyte; fewer are quicker")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := startServer(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()

	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "file\tMB\trows\tends as\tafter\theap of ingest\tresident, all\t\n")
	var missed []error
	measure := func(name, file string, want events.Status) error {
		heap, err := ingestHeap(ctx, file)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		u, resident, size, err := server.measure(ctx, file)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if want != "" && u.Status != want {
			missed = append(missed, fmt.Errorf("%s ended as %s: %+v", name, u.Status, u.Failure))
		}
		if heap > promisedHeap {
			missed = append(missed, fmt.Errorf("%s: the ingest stage's heap reached %d MiB", name, heap>>20))
		}
		if resident > promisedResident {
			missed = append(missed, fmt.Errorf("%s: the process reached %d MiB", name, resident>>20))
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%d MiB\t%d MiB\t\n", name, size>>20, u.Counts.Rows, u.Status,
			u.Settled.Sub(u.Uploaded).Round(100*time.Millisecond), heap>>20, resident>>20)
		return nil
	}
	for _, f := range larges(*gb << 20) {
		if flags.NArg() > 0 && !strings.Contains(f.name, flags.Arg(0)) {
			continue
		}
		progress("%s", f.name)
		file := filepath.Join(dir, f.name[strings.LastIndexByte(f.name, ' ')+1:])
		if err := f.make(file); err != nil {
			return err
		}
		if err := measure(f.name, file, f.status); err != nil {
			return err
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	if flags.NArg() == 0 {
		const corpus = "ingest/testdata/corpus"
		hostile, err := os.ReadDir(corpus)
		if err != nil {
			return err
		}
		progress("the %d files of %s", len(hostile), corpus)
		heap, resident, err := server.corpus(ctx, corpus, hostile)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "the most of %d small hostile files\t\t\t\t\t%d MiB\t%d MiB\t\n", len(hostile), heap>>20,
			resident>>20)
		if heap > promisedHeap || resident > promisedResident {
			missed = append(missed, fmt.Errorf("the hostile files take a heap of %d MiB and %d MiB of resident memory",
				heap>>20, resident>>20))
		}
	}
	fmt.Fprintf(table, "promised\t\t\t\t\t%d MiB\t%d MiB\t\n", promisedHeap>>20, promisedResident>>20)
	return errors.Join(append(missed, table.Flush())...)
}

func (s *server) corpus(ctx context.Context, dir string, files []os.DirEntry) (heap, resident int64, err error) {
	for _, f := range files {
		file := filepath.Join(dir, f.Name())
		stage, err := ingestHeap(ctx, file)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", file, err)
		}
		_, all, _, err := s.measure(ctx, file)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", file, err)
		}
		heap, resident = max(heap, stage), max(resident, all)
	}
	return heap, resident, nil
}

// measure uploads a file and removes it again.
func (s *server) measure(ctx context.Context, file string) (u events.Upload, resident, size int64, err error) {
	in, err := os.Open(file)
	if err != nil {
		return u, 0, 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return u, 0, 0, err
	}
	if err := s.resetPeak(); err != nil {
		return u, 0, 0, err
	}
	key := "uploads/" + filepath.Base(file)
	if u, err = s.upload(ctx, key, in); err != nil {
		return u, 0, 0, err
	}
	if resident, err = s.peak(); err != nil {
		return u, 0, 0, err
	}
	return u, resident, info.Size(), s.remove(ctx, key)
}

// make writes the file, compressed according to its suffix.
func (f large) make(file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	var w io.WriteCloser
	switch filepath.Ext(file) {
	case ".gz":
		w, err = gzip.NewWriterLevel(buffered, gzip.BestSpeed)
	case ".zst":
		w, err = zstd.NewWriter(buffered)
	default:
		w = plain{buffered}
	}
	if err == nil {
		err = errors.Join(f.write(w, f.size), w.Close(), buffered.Flush())
	}
	return errors.Join(err, out.Close())
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// rowsOfPeople is the number of people in the files, whose rows have a hundred bytes.
const rowsOfPeople = 1_000_000

func csvRows(w io.Writer, size int64) error {
	return rowsOf(w, size, "person,flavor\n", "%s,%s\n", "", "")
}

func ndjsonRows(w io.Writer, size int64) error {
	return rowsOf(w, size, "", `{"person":"%s","flavor":"%s"}`+"\n", "", "")
}

func members(w io.Writer, size int64) error {
	return rowsOf(w, size, "{\n", `"%s":"%s"`, ",\n", "\n}\n")
}

func rowsOf(w io.Writer, size int64, start, row, between, end string) error {
	var b bytes.Buffer
	b.WriteString(start)
	written := int64(0)
	for i := 0; written < size; i++ {
		if i > 0 {
			b.WriteString(between)
		}
		n := i * 7919 % rowsOfPeople // visits all people in a scattered order
		fmt.Fprintf(&b, row, fmt.Sprintf("person number %07d of the department of ice cream and other frozen desserts", n),
			flavors[n%len(flavors)])
		if b.Len() > 64<<10 {
			written += int64(b.Len())
			if _, err := b.WriteTo(w); err != nil {
				return err
			}
		}
	}
	b.WriteString(end)
	_, err := b.WriteTo(w)
	return err
}

func repeat(w io.Writer, start, pattern string, size int64) error {
	if _, err := io.WriteString(w, start); err != nil {
		return err
	}
	for ; size > 0; size -= int64(len(pattern)) {
		if _, err := io.WriteString(w, pattern); err != nil {
			return err
		}
	}
	return nil
}

// ingestHeap runs the ingest stage over a file and returns its peak heap in bytes, including garbage.
func ingestHeap(ctx context.Context, file string) (int64, error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	debug.FreeOSMemory()
	ended, highest := make(chan struct{}), make(chan int64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for most := int64(0); ; {
			metrics.Read(sample)
			most = max(most, int64(sample[0].Value.Uint64()))
			select {
			case <-ended:
				highest <- most
				return
			case <-tick.C:
			}
		}
	}()
	err = ingest.New(ingest.Config{
		Objects: fileObjects(file), Updates: nowhere{}, Ledger: nowhere{}, Reports: fileReports(file + ".reports"),
		Sorting: ingest.Sorting{
			From: ingest.DefaultSortFrom, Dir: filepath.Dir(file), MaxDisk: func() int64 { return 16 << 30 },
		},
		Clock: time.Now, Log: slog.New(slog.DiscardHandler),
	}).Ingest(ctx, events.Object{Bucket: "bench", Key: "uploads/" + filepath.Base(file), ETag: "e",
		Sequencer: "55aed6dcd90281e5", Size: info.Size(), Time: time.UnixMilli(1)})
	close(ended)
	return <-highest, errors.Join(err, os.RemoveAll(file+".reports"))
}
