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

// inflight records on disk which messages of a queue are in flight, for the next process after a crash. The server
// counts deliveries, but writes the counts up to 100 ms late. If a message killed the process faster than that, each of
// its deliveries would count as the first one.
//
// Each worker has a small file with its group. The files are not synced, because they must survive the process, not a
// power failure.
type inflight struct {
	dir   string
	queue broker.Stream
	files []*os.File // by worker

	mu          sync.Mutex
	interrupted map[uint64]entry // by sequence number: messages that a crash or a stop interrupted, until they are settled
}

// entry is a line of a file.
type entry struct {
	tries int
	reply string // subject of the acknowledgement
}

func openInflight(dir string, queue broker.Stream, workers int) (*inflight, error) {
	// Earlier releases called the folder "hand"; it keeps this name.
	f := &inflight{dir: filepath.Join(dir, "hand"), queue: queue, interrupted: map[uint64]entry{}}
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

// leftFile is where close stores the interrupted messages.
func (f *inflight) leftFile() string { return filepath.Join(f.dir, string(f.queue)+"-left") }

// read adds the entries of a file. It skips an incomplete line, because its message was not handed to the handler yet.
func (f *inflight) read(content []byte) {
	for line := range bytes.Lines(content) {
		var seq uint64
		var e entry
		if !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		if _, err := fmt.Sscan(string(line), &seq, &e.tries, &e.reply); err == nil && strings.HasPrefix(e.reply, "$JS.ACK.") {
			f.interrupted[seq] = e
		}
	}
}

// replies returns where to acknowledge the messages that a crash or a stop interrupted.
func (f *inflight) replies() []string {
	var replies []string
	for _, seq := range slices.Sorted(maps.Keys(f.interrupted)) {
		replies = append(replies, f.interrupted[seq].reply)
	}
	return replies
}

// tries corrects the number of deliveries that the server counted, and reports whether a crash or a stop interrupted
// the message; the two can't be distinguished.
func (f *inflight) tries(seq uint64, delivered int) (tries int, interrupted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, interrupted := f.interrupted[seq]
	if !interrupted {
		return delivered, false
	}
	e.tries = max(e.tries+1, delivered)
	f.interrupted[seq] = e
	return e.tries, true
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
			delete(f.interrupted, m.seq)
		}
	}
}

// interrupt adds a message that a stop interrupts. It is returned to the queue, but the server does not store that: the
// next start has to return it again.
func (f *inflight) interrupt(m *message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interrupted[m.seq] = entry{m.Tries, m.reply}
}

// close stores the interrupted messages, or removes all files of the queue.
func (f *inflight) close() {
	for _, file := range f.files {
		_ = file.Close()
	}
	if len(f.interrupted) > 0 {
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
	for seq, e := range f.interrupted {
		fmt.Fprintf(&b, "%d %d %s\n", seq, e.tries, e.reply)
	}
	return os.WriteFile(f.leftFile(), b.Bytes(), 0o600)
}
