package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// File descriptors that the process needs for itself. A server on an empty folder has 33 open. Under load it needs
// about 15 more: for readers of the table, files that are being read and their requests to the bucket, reports, and new
// files of streams.
const (
	ownDescriptors     = 50
	webhookDescriptors = 2*webhookDeliveries + 2 // for each webhook: connections, and the files of two streams
	uploadDescriptors  = 2                       // for each connection to the bucket: itself, and the stored file

	// Connections beyond the limit are accepted before they are closed. This share of all descriptors is reserved for
	// them, but at most maxBurst.
	burstShare = 32
	maxBurst   = 64

	maxSubscribers = 256 // NATS connections

	// The server does not start with fewer connections.
	minConnections = 3 // to the bucket, where reading a file and storing its report take two; and to the API
	minSubscribers = 2
)

// openFiles returns how many files the process may open. The os package has raised the soft limit to the hard limit.
func openFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// fitDescriptors lowers the connection limits so that connections never use the descriptors that the process needs for
// its own files: without them, the queues can't be written. It returns an error if too few are left for connections.
func (c *Config) fitDescriptors() error {
	own := ownDescriptors + webhookDescriptors*len(c.Webhooks)
	if c.Metrics != "" {
		own += maxScrapers + 2
	}
	const each = 1 + uploadDescriptors // for a connection to the API and one to the bucket
	l := &c.Limits
	left := l.OpenFiles - own - min(l.OpenFiles/burstShare, maxBurst)
	l.subscribers = min(left/4, maxSubscribers)
	if left >= l.MaxConnections*each+maxSubscribers {
		return nil
	}
	connections := min((left-l.subscribers)/each, l.MaxConnections)
	if connections < min(minConnections, l.MaxConnections) || l.subscribers < minSubscribers {
		least := own + each*minConnections + minSubscribers
		return fmt.Errorf("the process may open %d files but needs at least %d; "+
			"raise the limit with ulimit -n or LimitNOFILE", l.OpenFiles, least*burstShare/(burstShare-1)+1)
	}
	c.Log.WarnContext(context.Background(), "connection limits were lowered to fit the limit of open files",
		"event", "descriptors", "open_files", l.OpenFiles, "max_connections", connections, "configured", l.MaxConnections,
		"subscribers", l.subscribers, "needed", own+maxBurst+l.MaxConnections*each+maxSubscribers)
	l.MaxConnections, l.MaxRequests = connections, min(l.MaxRequests, connections)
	return nil
}

// outOfDescriptors reports whether an operation failed because the process or the machine had no free file descriptor.
// It will succeed later.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
