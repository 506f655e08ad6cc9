package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"
)

// tick is the minimum distance between two stamps. File systems store times in units of 1 or 100 ns, so microseconds
// survive being stored. Times in a version have milliseconds; the sequencer orders uploads within one.
const tick = time.Microsecond

// clock gives files modification times that never repeat and never go back.
//
// The system clock may be set back, and a file system may store coarser times than it is given. So each stamp is later
// than the last one, is read back after it was set, and is written to a small file, the mark, from which the next
// process continues. The mark is not synced: it survives the process, and if the machine crashes, a stamp could repeat
// only if the system clock was set back as well.
type clock struct {
	now func() time.Time

	mu   sync.Mutex
	last int64 // the latest stamp, in ns since 1970
	mark *os.File
}

// openClock continues from the mark. If the mark is missing or invalid, it continues from newest().
func openClock(path string, now func() time.Time, newest func() (int64, error)) (*clock, error) {
	c := &clock{now: now}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the latest sequencer: %w", err)
	}
	var valid bool
	if c.last, valid = parseMark(string(text)); !valid {
		if c.last, err = newest(); err != nil {
			return nil, fmt.Errorf("looking for the newest object: %w", err)
		}
	}
	if c.mark, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("opening the file of the latest sequencer: %w", err)
	}
	return c, nil
}

func (c *clock) close() error { return c.mark.Close() }

// stamp sets the modification time of a file to a time later than all stamps before, and returns it as it was stored.
func (c *clock) stamp(files *os.Root, name string) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := max(c.now().Truncate(tick).UnixNano(), c.last+int64(tick))
	for step := tick; step <= 10*time.Second; step *= 10 {
		if err := files.Chtimes(name, time.Time{}, time.Unix(0, next)); err != nil {
			return time.Time{}, fmt.Errorf("setting the time of %s: %w", name, err)
		}
		info, err := files.Stat(name)
		if err != nil {
			return time.Time{}, fmt.Errorf("setting the time of %s: %w", name, err)
		}
		got := info.ModTime().UnixNano()
		if got <= c.last { // rounded down by the file system
			next += int64(step)
			continue
		}
		if _, err := c.mark.WriteAt([]byte(sequencer(info.ModTime())), 0); err != nil {
			return time.Time{}, fmt.Errorf("writing the latest sequencer: %w", err)
		}
		c.last = got
		return info.ModTime(), nil
	}
	return time.Time{}, fmt.Errorf("setting the time of %s: the file system stores no time later than %s",
		name, time.Unix(0, c.last))
}

// parseMark parses a mark. It rejects a truncated mark, which would be a time long ago, and times after 2200, which
// only a damaged disk can hold: all later stamps would have to be later still.
func parseMark(text string) (ns int64, ok bool) {
	ns, err := strconv.ParseInt(text, 16, 64)
	t := time.Unix(0, ns)
	return ns, err == nil && sequencer(t) == text && ns > 0 && t.Year() < 2200
}

// sequencerDigits is the length of a sequencer.
const sequencerDigits = 16

// sequencer returns a file's time as text that sorts by time: nanoseconds since 1970 as 16 hexadecimal digits.
func sequencer(t time.Time) string { return fmt.Sprintf("%0*x", sequencerDigits, t.UnixNano()) }
