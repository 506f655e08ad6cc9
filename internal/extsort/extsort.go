package extsort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/flavorless/flavorless/events"
)

// ErrDiskLimit means that the rows need more temporary files than [Config.MaxDisk] allows.
var ErrDiskLimit = errors.New("the limit for temporary files is reached")

const (
	defaultMemory = 16 << 20
	maxRuns       = 128        // that are merged at once
	maxBuffer     = 256 << 10  // for reading a run
	folderPrefix  = "extsort-" // of the folders that New creates
	textChunk     = 16 << 10   // bytes of the strings that are allocated at once
	checkEvery    = 1 << 10    // rows between two looks at the context
	yieldEvery    = 1 << 8     // rows after which other goroutines run, such as those that answer readers
)

// Config configures a [Sorter]. With the default GOGC, the heap grows to twice Memory while rows are added, if the
// caller allocates. With more Memory, sorting is hardly faster.
type Config struct {
	Dir     string                  // folder in which New creates a subfolder for temporary files; it must exist
	Memory  int                     // maximum bytes for rows in memory, with their index; 16 MiB if 0
	MaxDisk int64                   // maximum bytes of temporary files; 0 for no limit
	Group   func(person string) int // group of a person, 0 to 255; nil if there is one group
}

// Sorter sorts rows. It must not be used by several goroutines at the same time.
type Sorter struct {
	cfg        Config
	arena      arena
	dir        string // "" until it is needed
	runs       []run
	created    int   // number of runs so far, for their names
	disk       int64 // bytes of the runs
	superseded int64
	ended      bool
}

// New returns an empty sorter. It creates no file; the first row that does not fit into memory does.
func New(cfg Config) (*Sorter, error) {
	if cfg.Memory < 0 || cfg.Memory > math.MaxUint32/2 || cfg.MaxDisk < 0 {
		return nil, fmt.Errorf("sorting with %d bytes of memory and %d of disk: the limits are negative or above 2 GiB "+
			"of memory", cfg.Memory, cfg.MaxDisk)
	}
	if cfg.Memory == 0 {
		cfg.Memory = defaultMemory
	}
	if cfg.MaxDisk == 0 {
		cfg.MaxDisk = math.MaxInt64
	}
	return &Sorter{cfg: cfg, arena: newArena(cfg.Memory)}, nil
}

// Add adds a row. The error is [ErrDiskLimit] if the temporary files would become too large; the sorter is then of no
// further use.
func (s *Sorter) Add(u events.Update) error {
	switch {
	case s.ended:
		return errors.New("adding a row to a sorter whose rows have been read")
	case u.Person == "" || len(u.Person) > events.MaxName || len(u.Flavor) > events.MaxName ||
		u.Remove != (u.Flavor == ""):
		return fmt.Errorf("row at byte %d: invalid person %.80q or flavor %.80q", u.Offset, u.Person, u.Flavor)
	}
	var group int
	if s.cfg.Group != nil {
		if group = s.cfg.Group(u.Person); group < 0 || group > math.MaxUint8 {
			return fmt.Errorf("row at byte %d: group %d of person %.80q is not in 0 to 255", u.Offset, group, u.Person)
		}
	}
	if s.arena.add(byte(group), u) {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.arena.add(byte(group), u) // the first row is always accepted
	return nil
}

// Rows returns the rows in order. Of each person it yields only the row with the greatest offset. It may be called
// once, and no row can be added afterwards. The strings remain valid. If there are more than 128 runs, the error may be
// [ErrDiskLimit], because they are merged in several passes.
func (s *Sorter) Rows(ctx context.Context) iter.Seq2[events.Update, error] {
	again := s.ended
	s.ended = true
	return func(yield func(events.Update, error) bool) {
		if again {
			yield(events.Update{}, errors.New("reading the rows of a sorter twice or after Close"))
			return
		}
		again = true
		rows, err := s.sorted(ctx)
		if err != nil {
			yield(events.Update{}, err)
			return
		}
		var text chunkedText
		for x, err := range s.distinct(ctx, rows) {
			if err != nil {
				yield(events.Update{}, err)
				return
			}
			u := events.Update{
				Offset: x.offset,
				Person: text.string(x.person),
				Flavor: text.string(x.flavor),
				Remove: len(x.flavor) == 0,
			}
			if !yield(u, nil) {
				return
			}
		}
	}
}

// Superseded returns the number of rows that Rows has left out. It is valid after Rows has yielded all rows.
func (s *Sorter) Superseded() int64 { return s.superseded }

// Close removes the temporary files. The iterator of Rows must not be in use.
func (s *Sorter) Close() error {
	s.ended = true
	s.arena, s.runs = arena{}, nil
	if s.dir == "" {
		return nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("removing temporary files: %w", err)
	}
	s.dir = ""
	return nil
}

// Prepare creates a folder for temporary files if it is missing, readable by its owner alone, and removes the temporary
// files that killed processes have left in it. It must not be called while a sorter uses the folder.
func Prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating the folder for sorting: %w", err)
	}
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), folderPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing temporary files of earlier processes: %w", err)
	}
	return nil
}

// flush writes the rows in memory as a run.
func (s *Sorter) flush() error {
	s.arena.reserve()
	err := s.write(s.distinct(context.Background(), s.arena.sort()))
	s.arena.reset()
	return err
}

// write adds a run.
func (s *Sorter) write(rows iter.Seq2[*row, error]) error {
	if s.dir == "" {
		dir, err := os.MkdirTemp(s.cfg.Dir, folderPrefix+"*")
		if err != nil {
			return fmt.Errorf("creating a folder for temporary files: %w", err)
		}
		s.dir = dir
	}
	r, err := writeRun(filepath.Join(s.dir, strconv.Itoa(s.created)), s.cfg.MaxDisk-s.disk, rows)
	if err != nil {
		return fmt.Errorf("writing sorted rows to a temporary file: %w", err)
	}
	s.created++
	s.disk += r.size
	s.runs = append(s.runs, r)
	return nil
}

// sorted returns all rows in order.
func (s *Sorter) sorted(ctx context.Context) (iter.Seq2[*row, error], error) {
	if len(s.runs) == 0 {
		return s.arena.sort(), nil
	}
	if err := s.flush(); err != nil {
		return nil, err
	}
	s.arena = arena{}
	runtime.GC() // or the collector might let the heap grow to twice the size of the arena before it frees the arena
	for len(s.runs) > maxRuns {
		// The oldest runs become one. Merging only the surplus first saves reading all rows once more.
		n := min(maxRuns, len(s.runs)-maxRuns+1)
		oldest := s.runs[:n:n]
		if err := s.write(s.distinct(ctx, mergeRuns(oldest, s.buffer(n)))); err != nil {
			return nil, err
		}
		for _, r := range oldest {
			if err := os.Remove(r.path); err != nil {
				return nil, fmt.Errorf("removing a temporary file: %w", err)
			}
			s.disk -= r.size
		}
		s.runs = s.runs[n:]
	}
	return mergeRuns(s.runs, s.buffer(len(s.runs))), nil
}

// buffer returns the size of the buffers for merging n runs. Together they take at most half of the memory.
func (s *Sorter) buffer(n int) int { return min(s.cfg.Memory/2/n, maxBuffer) }

// distinct leaves out rows whose person is that of the row before, and counts them as superseded.
func (s *Sorter) distinct(ctx context.Context, rows iter.Seq2[*row, error]) iter.Seq2[*row, error] {
	return func(yield func(*row, error) bool) {
		var person []byte
		n := 0
		for x, err := range rows {
			if n%yieldEvery == 0 {
				runtime.Gosched()
			}
			if n++; n%checkEvery == 1 && err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if bytes.Equal(x.person, person) { // the first person is not empty
				s.superseded++
				continue
			}
			person = append(person[:0], x.person...)
			if !yield(x, nil) {
				return
			}
		}
	}
}

// chunkedText allocates strings together, which is faster than one by one.
type chunkedText struct{ b strings.Builder }

func (t *chunkedText) string(p []byte) string {
	if t.b.Cap()-t.b.Len() < len(p) {
		t.b.Reset() // the strings so far keep their memory
		t.b.Grow(textChunk)
	}
	start := t.b.Len()
	t.b.Write(p)
	return t.b.String()[start:]
}
