package local

import (
	"context"
	"net"
	"net/http"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// Stored hands an object to the house as its bucket does, which never has one of a bad form.
func (s *Server) Stored(ctx context.Context, o events.Object) error { return s.stored(ctx, o) }

// CloseTable takes the table away under the running house.
func (s *Server) CloseTable() error { return s.db.Close() }

// Reconciled is closed when what lay in the bucket at the start is known.
func (s *Server) Reconciled() <-chan struct{} { return s.reconciled }

// Lock takes a data folder for a moment, as a start does.
func Lock(dir string) error {
	f, err := openFolder(dir)
	if err != nil {
		return err
	}
	return f.close()
}

// StopQueues takes the queues away under the running house.
func (s *Server) StopQueues() { s.streams.Stop() }

// ConditionOfDisk is how a disk is with so many bytes free, of which so many have to remain.
func ConditionOfDisk(free, reserve int64, err error) api.Condition {
	return conditionOfDisk(free, reserve, err)
}

// StopGateway takes the bucket away under the running house.
func (s *Server) StopGateway(ctx context.Context) error { return s.gateway.Stop(ctx) }

// Redrive puts all dead letters back.
func (s *Server) Redrive(ctx context.Context) (int, error) { return s.streams.RedriveAll(ctx) }

// Tidy does at once what is done every hour. It fails with ErrNotNow when it was not the moment for some of it.
func (s *Server) Tidy(ctx context.Context) error {
	if later, err := s.tidy(ctx); err != nil || !later {
		return err
	}
	return ErrNotNow
}

// ErrNotNow is that.
var ErrNotNow = errNotNow

// Waiting is how many messages wait or are in hand, and how many are dead.
func (s *Server) Waiting(ctx context.Context) (waiting, dead uint64, err error) {
	depths, err := s.streams.Depths(ctx)
	for _, d := range depths {
		waiting, dead = waiting+d.Pending+d.InFlight, dead+d.Dead
	}
	return waiting, dead, err
}

// Read handles what the queue of uploads delivers.
func Read(ctx context.Context, c ingest.Config, subject string, body []byte) error {
	return read(ctx, c, readFor, queue.Delivery{Subject: subject, Body: body})
}

// PublishNonsense makes a dead letter.
func (s *Server) PublishNonsense(ctx context.Context) error {
	return s.streams.updates.Publish(ctx, []events.Message{{Subject: events.UpdatesType, Body: []byte("nonsense")}})[0]
}

// Tombstones counts the removed people that are remembered, by looking into the file.
func (s *Server) Tombstones(context.Context) (n int, err error) {
	conn, err := sqlite.OpenConn(s.folder.path(databaseFile), sqlite.OpenReadOnly)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	n64, err := sqlitex.ResultInt64(conn.Prep("SELECT count(*) FROM removed"))
	return int(n64), err
}

// IdleConnections returns how many connections to the API are open and idle.
func (s *Server) IdleConnections() (n int) {
	s.connections.mu.Lock()
	defer s.connections.mu.Unlock()
	for c := range s.connections.open {
		if c.idleSince > 0 {
			n++
		}
	}
	return n
}

// LimitConnections returns the limiting listener, and the hook that a server reports states of connections to.
func LimitConnections(l net.Listener, most int) (net.Listener, func(net.Conn, http.ConnState)) {
	limited := limitConnections(l, most)
	return limited, limited.state
}

// Fitted returns what fits into the limit of open files: connections to the API, and as many to the bucket, requests to the
// bucket, and connections of subscribers.
func Fitted(c Config) (connections, requests, subscribers int, err error) {
	c, err = c.checked()
	return c.Limits.MaxConnections, c.Limits.MaxRequests, c.Limits.subscribers, err
}

// Usable is how many bytes are free on a disk, and Inode what an inode counts for.
var Usable = usable

const Inode = inodeBytes
