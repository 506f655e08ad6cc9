package test

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/testutil"
)

const (
	kills     = 28
	uploaders = 3 // goroutines that upload at the same time
)

// TestSIGKILL kills the real program again and again while files are uploaded: while it starts, at a random time, or
// right after it has logged a message, which is between two steps of its work. In the end no upload that was answered
// with 200 is lost, every row has one outcome, the table is the fold of the files, and the changes that a subscriber
// received, who reconnected each time, add up to the table.
func TestSIGKILL(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	c := newCrashTest(t)
	began := time.Now()
	c.supervisor.start()
	c.supervisor.ready()
	startup := time.Since(began)
	c.begin(3_000)
	for i := range kills {
		if i%7 == 6 { // let some processes run for a while
			c.supervisor.ready()
			c.uploader.waitForUploads(5)
		}
		c.killAndRestart(startup)
	}
	t.Logf("%d kills took %s", kills, time.Since(began).Round(time.Second))
	c.finish()
	t.Logf("all uploads were settled after %s", time.Since(began).Round(time.Second))
}

// crashTest is the real program under uploads, with a subscriber.
type crashTest struct {
	t          *testing.T
	seed       uint64
	random     *rand.Rand
	supervisor *supervisor
	uploader   *uploader
	subscriber *subscriber
	cancel     context.CancelFunc // ends the uploads and the subscription
	background sync.WaitGroup     // the subscription
}

func newCrashTest(t *testing.T) *crashTest {
	t.Helper()
	c := &crashTest{t: t, seed: uint64(time.Now().UnixNano()), supervisor: newSupervisor(t)}
	if seed, err := strconv.ParseUint(os.Getenv("FLAVORLESS_SEED"), 10, 64); err == nil {
		c.seed = seed
	}
	t.Logf("FLAVORLESS_SEED=%d repeats the files and the choice of moments", c.seed)
	c.random = rand.New(rand.NewPCG(c.seed, 0))
	c.supervisor.args = []string{"--sort-from", "20KB"} // the large files
	c.uploader = &uploader{t: t, supervisor: c.supervisor, files: map[string]file{}, accepted: map[string]bool{}}
	c.subscriber = &subscriber{t: t, supervisor: c.supervisor, received: map[uint64]events.Change{}}
	return c
}

// begin starts the uploads of files with at most maxRows rows, and the subscription.
func (c *crashTest) begin(maxRows int) {
	ctx, cancel := context.WithCancel(c.t.Context())
	c.cancel = cancel
	for i := range uploaders {
		random := rand.New(rand.NewPCG(c.seed, uint64(1+i)))
		files := &fileGenerator{t: c.t, random: random, prefix: strconv.Itoa(i), maxRows: maxRows}
		c.uploader.running.Go(func() { c.uploader.run(ctx, files) })
	}
	c.background.Go(func() { c.subscriber.run(ctx) })
	c.t.Cleanup(func() {
		cancel()
		c.uploader.running.Wait()
		c.background.Wait()
	})
}

// killAndRestart kills the process at a random moment and starts the next one.
func (c *crashTest) killAndRestart(startup time.Duration) {
	c.t.Helper()
	s := c.supervisor
	randomly := func(most time.Duration) <-chan time.Time {
		return time.After(time.Duration(c.random.Int64N(int64(most))))
	}
	switch c.random.IntN(4) {
	case 0: // while it starts
		<-randomly(startup)
	case 1: // at any time
		s.ready()
		<-randomly(600 * time.Millisecond)
	default: // between two steps
		if c.random.IntN(4) > 0 {
			s.ready()
		}
		message := "" // any
		if known := s.loggedMessages(); len(known) > 0 && c.random.IntN(4) > 0 {
			message = known[c.random.IntN(len(known))]
		}
		s.process.killAfter(message, 1+c.random.IntN(12))
		select {
		case <-s.process.ended:
		case <-time.After(2 * time.Second): // the message may be a rare one
		}
	}
	s.kill()
	s.start()
}

// finish waits until all uploads are settled, ends the program, and checks the result.
func (c *crashTest) finish() {
	c.t.Helper()
	s, u := c.supervisor, c.uploader
	info := s.ready()
	u.waitForUploads(5)
	u.stopped.Store(true)
	u.running.Wait()
	u.settle(info)
	u.uploadLast(info)
	c.subscriber.waitForLast()
	reports := u.reports(info)
	all := c.subscriber.readAll(info)
	c.cancel()
	c.background.Wait()
	s.stop()
	received := c.subscriber.received
	c.t.Logf("%d processes; %d files, %d accepted, %d uploaded again; %d changes; %d dead letters redriven; messages: %v",
		s.starts, len(u.files), len(u.accepted), u.repeated, len(received), u.redriven, s.messages)
	if !maps.Equal(all, received) { // too many for a diff
		c.t.Errorf("the subscriber received %d changes that differ from the %d of the stream", len(received), len(all))
	}
	u.check(reports, received)
}
