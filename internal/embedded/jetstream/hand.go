package jetstream

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// hand keeps on disk which messages of a queue are in hand, so that a process that was killed finds out what it had been
// doing. The server counts deliveries, but writes its counts behind, up to 100 ms late: a message that kills the process
// faster than that would be delivered for the first time for ever.
//
// One small file a worker holds the group in hand. It is not forced to disk: it has to outlive the process, not the
// power.
type hand struct {
	files []*os.File
	dir   string
	queue Stream

	mu   sync.Mutex
	left map[uint64]held // messages that were in hand at a crash, or are at a stop, and are not settled yet, by sequence in the stream
}

type held struct {
	tries int
	reply string // the subject to acknowledge on
}

func openHand(dir string, queue Stream, workers int) (*hand, error) {
	h := &hand{dir: filepath.Join(dir, "hand"), queue: queue, left: map[uint64]held{}}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, err
	}
	old, err := filepath.Glob(filepath.Join(h.dir, string(queue)+"-*"))
	if err != nil {
		return nil, err
	}
	for _, name := range old {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		h.read(content)
	}
	for i := range workers {
		f, err := os.OpenFile(filepath.Join(h.dir, fmt.Sprintf("%s-%d", queue, i)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			h.close()
			return nil, err
		}
		h.files = append(h.files, f)
	}
	return h, nil
}

func (h *hand) read(content []byte) {
	for line := range bytes.Lines(content) {
		var seq uint64
		var e held
		if !bytes.HasSuffix(line, []byte("\n")) { // cut off while it was written: nothing had been handled yet
			continue
		}
		if _, err := fmt.Sscan(string(line), &seq, &e.tries, &e.reply); err == nil && strings.HasPrefix(e.reply, "$JS.ACK.") {
			h.left[seq] = e
		}
	}
}

// replies gives the acknowledgement subjects of what was in hand at a crash or a stop.
func (h *hand) replies() []string {
	var replies []string
	for _, seq := range slices.Sorted(maps.Keys(h.left)) {
		replies = append(replies, h.left[seq].reply)
	}
	return replies
}

// tries corrects the number of deliveries that the server counted, and tells whether the message was in hand at a crash, or
// a stop, which is not told apart.
func (h *hand) tries(seq uint64, delivered int) (tries int, crashed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, crashed := h.left[seq]
	if !crashed {
		return delivered, false
	}
	e.tries = max(e.tries+1, delivered)
	h.left[seq] = e
	return e.tries, true
}

// take notes the group in hand of a worker before it is handled.
func (h *hand) take(worker int, group []*inHand) error {
	var b bytes.Buffer
	for _, m := range group {
		fmt.Fprintf(&b, "%d %d %s\n", m.seq, m.Tries, m.reply)
	}
	f := h.files[worker]
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(b.Bytes(), 0)
	return err
}

// release notes that a worker has nothing in hand.
func (h *hand) release(worker int) error { return h.files[worker].Truncate(0) }

// forget drops what will not come again.
func (h *hand) forget(group ...*inHand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range group {
		if m.settled {
			delete(h.left, m.seq)
		}
	}
}

// interrupted notes a message that a stop takes out of hand. It is given back, but that is not something that the server writes
// down: the next start has to do it again.
func (h *hand) interrupted(m *inHand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left[m.seq] = held{m.Tries, m.reply}
}

// close forgets what a clean end has settled, and the files of workers that there are no more.
func (h *hand) close() {
	for _, f := range h.files {
		_ = f.Close()
	}
	if len(h.left) > 0 {
		h.keep()
		return
	}
	old, _ := filepath.Glob(filepath.Join(h.dir, string(h.queue)+"-*"))
	for _, name := range old {
		_ = os.Remove(name)
	}
}

// keep writes down what has still not been settled, for the next start.
func (h *hand) keep() {
	var b bufio.Writer
	f, err := os.OpenFile(filepath.Join(h.dir, string(h.queue)+"-left"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	b.Reset(f)
	for seq, e := range h.left {
		fmt.Fprintf(&b, "%d %d %s\n", seq, e.tries, e.reply)
	}
	_ = b.Flush()
}
