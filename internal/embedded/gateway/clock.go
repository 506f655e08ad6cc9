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

// tick is the least distance between two stamps. File systems keep nanoseconds or 100 of them, so a microsecond survives
// being stored; time in a version counts milliseconds, which leaves the sequencer to order what falls into one.
const tick = time.Microsecond

// clock gives files modification times that never repeat nor go back.
//
// The wall clock steps back now and then, and a file system may keep coarser times than it is given. So each stamp is
// later than the last one, is read back after being set, and is written to a small file, the mark, so that the next
// process begins beyond it. A write without a sync suffices: it survives the process, and if the machine crashes too,
// only a clock that was also set back could repeat a stamp.
type clock struct {
	now func() time.Time

	mu   sync.Mutex
	last int64 // ns since 1970, the latest stamp given
	mark *os.File
}

// openClock continues where the mark left off. If there is none, or none that can be read, it begins after newest().
func openClock(path string, now func() time.Time, newest func() (int64, error)) (*clock, error) {
	c := &clock{now: now}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("gateway: reading the clock's mark: %w", err)
	}
	var readable bool
	if c.last, readable = parseMark(string(text)); !readable {
		if c.last, err = newest(); err != nil {
			return nil, fmt.Errorf("gateway: looking for the newest object: %w", err)
		}
	}
	if c.mark, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("gateway: opening the clock's mark: %w", err)
	}
	return c, nil
}

func (c *clock) close() error { return c.mark.Close() }

// stamp gives the named file a modification time later than any given before, and returns it as it is stored.
func (c *clock) stamp(files *os.Root, name string) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := max(c.now().Truncate(tick).UnixNano(), c.last+int64(tick))
	for step := tick; step <= 10*time.Second; step *= 10 {
		if err := files.Chtimes(name, time.Time{}, time.Unix(0, next)); err != nil {
			return time.Time{}, fmt.Errorf("stamping %s: %w", name, err)
		}
		info, err := files.Stat(name)
		if err != nil {
			return time.Time{}, fmt.Errorf("stamping %s: %w", name, err)
		}
		got := info.ModTime().UnixNano()
		if got <= c.last { // rounded down by the file system
			next += int64(step)
			continue
		}
		if _, err := c.mark.WriteAt([]byte(sequencer(info.ModTime())), 0); err != nil {
			return time.Time{}, fmt.Errorf("writing the clock's mark: %w", err)
		}
		c.last = got
		return info.ModTime(), nil
	}
	return time.Time{}, fmt.Errorf("stamping %s: the file system keeps no times later than %s", name, time.Unix(0, c.last))
}

// parseMark reads what stamp has written, whole. Half of it would be a time long ago; one that nobody will live to see comes
// of a disk that is damaged, and every stamp from then on would be later still.
func parseMark(text string) (at int64, ok bool) {
	at, err := strconv.ParseInt(text, 16, 64)
	t := time.Unix(0, at)
	return at, err == nil && sequencer(t) == text && at > 0 && t.Year() < 2200
}

// sequencerDigits is the length of a sequencer.
const sequencerDigits = 16

// sequencer writes a file's time so that it sorts as text: 16 hexadecimal digits of nanoseconds since 1970.
func sequencer(t time.Time) string { return fmt.Sprintf("%0*x", sequencerDigits, t.UnixNano()) }
