package queue

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// inflight records on disk which messages of a queue are in flight, so that after a crash the next process knows. The
// server counts deliveries, but writes the counts up to 100 ms late: a message that kills the process faster than that
// would be delivered for the first time for ever.
//
// Each worker has a small file with its group. The files are not synced, because they must survive the process, not a
// power failure.
type inflight struct {
	dir   string
	queue broker.Stream
	files []*os.File // by worker

	mu   sync.Mutex
	left map[uint64]record // by sequence number: messages that a crash or a stop interrupted, and that are not settled yet
}

// record is a line of a file.
type record struct {
	tries int
	reply string // subject of the acknowledgement
}

func openInflight(dir string, queue broker.Stream, workers int) (*inflight, error) {
	f := &inflight{dir: filepath.Join(dir, "hand"), queue: queue, left: map[uint64]record{}}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, err
	}
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f.read(content)
	}
	for i := range workers {
		file, err := os.OpenFile(filepath.Join(f.dir, fmt.Sprintf("%s-%d", queue, i)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			f.close()
			return nil, err
		}
		f.files = append(f.files, file)
	}
	return f, nil
}

// names returns the files of the queue, including those of workers that no longer exist.
func (f *inflight) names() ([]string, error) {
	return filepath.Glob(filepath.Join(f.dir, string(f.queue)+"-*"))
}

// leftFile is where close stores what is not settled.
func (f *inflight) leftFile() string { return filepath.Join(f.dir, string(f.queue)+"-left") }

// read adds the records of a file. It skips an incomplete line, because its message was not handed to the handler yet.
func (f *inflight) read(content []byte) {
	for line := range bytes.Lines(content) {
		var seq uint64
		var r record
		if !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		if _, err := fmt.Sscan(string(line), &seq, &r.tries, &r.reply); err == nil && strings.HasPrefix(r.reply, "$JS.ACK.") {
			f.left[seq] = r
		}
	}
}

// replies returns where to acknowledge the messages that a crash or a stop interrupted.
func (f *inflight) replies() []string {
	var replies []string
	for _, seq := range slices.Sorted(maps.Keys(f.left)) {
		replies = append(replies, f.left[seq].reply)
	}
	return replies
}

// tries corrects the number of deliveries that the server counted, and reports whether a crash or a stop interrupted
// the message; the two can't be distinguished.
func (f *inflight) tries(seq uint64, delivered int) (tries int, crashed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, crashed := f.left[seq]
	if !crashed {
		return delivered, false
	}
	r.tries = max(r.tries+1, delivered)
	f.left[seq] = r
	return r.tries, true
}

// record stores the group of a worker before it is handled.
func (f *inflight) record(worker int, group []*message) error {
	var b bytes.Buffer
	for _, m := range group {
		fmt.Fprintf(&b, "%d %d %s\n", m.seq, m.Tries, m.reply)
	}
	file := f.files[worker]
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt(b.Bytes(), 0)
	return err
}

// clear stores that a worker has no messages.
func (f *inflight) clear(worker int) error { return f.files[worker].Truncate(0) }

// forget drops the messages that are settled.
func (f *inflight) forget(group ...*message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range group {
		if m.settled {
			delete(f.left, m.seq)
		}
	}
}

// interrupt adds a message that a stop interrupts. It is returned to the queue, but the server does not store that: the
// next start has to return it again.
func (f *inflight) interrupt(m *message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left[m.seq] = record{m.Tries, m.reply}
}

// close stores what is not settled, or removes all files of the queue.
func (f *inflight) close() {
	for _, file := range f.files {
		_ = file.Close()
	}
	if len(f.left) > 0 {
		_ = f.save() // without it, these messages are delivered after AckWait, and their last try may not count
		return
	}
	names, _ := f.names()
	for _, name := range names {
		_ = os.Remove(name)
	}
}

func (f *inflight) save() error {
	var b bytes.Buffer
	for seq, r := range f.left {
		fmt.Fprintf(&b, "%d %d %s\n", seq, r.tries, r.reply)
	}
	return os.WriteFile(f.leftFile(), b.Bytes(), 0o600)
}
