package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// Descriptors that the process needs for itself. A server on an empty folder has 33 open. Under load it has some 15 more: the
// readers of the table, the files that are being read and their requests to the bucket, reports, and new files of streams.
const (
	ownDescriptors     = 50
	webhookDescriptors = 2*webhookDeliveries + 2 // of each webhook: connections, and the files of two streams
	uploadDescriptors  = 2                       // of each connection to the bucket: itself, and the file that is stored

	// A burst of connections is accepted before it is turned away: this share of all descriptors is kept for it, at most maxBurst.
	burstShare = 32
	maxBurst   = 64

	maxSubscribers = 256 // connections over NATS

	// With fewer the server does not start.
	minConnections = 3 // to the bucket, where reading a file and storing its report take two; and to the API
	minSubscribers = 2
)

// openFiles returns how many files the process may have open. The os package has raised the soft limit to the hard one.
func openFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt // it will fail by itself
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// fitDescriptors lowers the limits of connections so that they never use the descriptors that the process needs for its own
// files: without one, the queues can't be written. The error is ErrConfig if too few are left to work with.
func (c *Config) fitDescriptors() error {
	own := ownDescriptors + webhookDescriptors*len(c.Webhooks)
	if c.Metrics != "" {
		own += scrapers + 2
	}
	const each = 1 + uploadDescriptors // of a connection to the API and one to the bucket
	l := &c.Limits
	left := l.OpenFiles - own - min(l.OpenFiles/burstShare, maxBurst)
	l.subscribers = min(left/4, maxSubscribers)
	if left >= l.MaxConnections*each+maxSubscribers {
		return nil
	}
	connections := min((left-l.subscribers)/each, l.MaxConnections)
	if connections < min(minConnections, l.MaxConnections) || l.subscribers < minSubscribers {
		least := own + each*minConnections + minSubscribers
		return fmt.Errorf("%w: the process may open %d files, and needs at least %d; raise the limit, with ulimit -n or LimitNOFILE",
			ErrConfig, l.OpenFiles, least*burstShare/(burstShare-1)+1)
	}
	c.Log.WarnContext(context.Background(), "connection limits were lowered to what the limit of open files allows",
		"event", "descriptors", "open_files", l.OpenFiles, "max_connections", connections, "configured", l.MaxConnections,
		"subscribers", l.subscribers, "needed", own+maxBurst+l.MaxConnections*each+maxSubscribers)
	l.MaxConnections, l.MaxRequests = connections, min(l.MaxRequests, connections)
	return nil
}

// outOfDescriptors reports whether the process, or the machine, has no file descriptor left. That goes away by itself.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
