package local

import (
	"context"
	"net"
	"net/http"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// PublishEvent publishes the event of an object, which the gateway never does for a malformed one.
func (s *Server) PublishEvent(ctx context.Context, o events.Object) error {
	return s.events.publish(ctx, o)
}

// CloseTable closes the table of a running server.
func (s *Server) CloseTable() error { return s.db.Close() }

// StopQueues stops the queues of a running server.
func (s *Server) StopQueues() { s.streams.Stop() }

// StopGateway stops the bucket of a running server.
func (s *Server) StopGateway(ctx context.Context) error { return s.gateway.Stop(ctx) }

// Reconciled returns a channel that is closed when all objects that were stored at the start are in a queue or in the
// ledger.
func (s *Server) Reconciled() <-chan struct{} { return s.pipeline.reconciled }

// Clean removes old data at once. It returns true if uploads were skipped because others are being processed.
func (s *Server) Clean(ctx context.Context) (busy bool, err error) { return s.cleaner.Clean(ctx) }

// Lock locks a data folder for a moment, as a start does.
func Lock(dir string) error {
	f, err := openFolder(dir)
	if err != nil {
		return err
	}
	return f.close()
}

// Depth returns the number of messages that are pending or in flight, and of dead letters.
func (s *Server) Depth(ctx context.Context) (waiting, dead uint64, err error) {
	depths, err := s.streams.Depths(ctx)
	for _, d := range depths {
		waiting, dead = waiting+d.Pending+d.InFlight, dead+d.Dead
	}
	return waiting, dead, err
}

// Read handles a message of the queue of uploads.
func Read(ctx context.Context, c ingest.Config, subject string, body []byte) error {
	return read(ctx, c, DefaultReadFor, queue.Delivery{Subject: subject, Body: body})
}

// PublishInvalidBatch publishes a batch that becomes a dead letter.
func (s *Server) PublishInvalidBatch(ctx context.Context) error {
	m := events.Message{Subject: events.UpdatesType, Body: []byte("nonsense")}
	return s.streams.updates.Publish(ctx, []events.Message{m})[0]
}

// Tombstones returns the number of records of removed people in the database file.
func (s *Server) Tombstones() (n int64, err error) {
	conn, err := sqlite.OpenConn(s.folder.path(databaseFile), sqlite.OpenReadOnly)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return sqlitex.ResultInt64(conn.Prep("SELECT count(*) FROM removed"))
}

// IdleConnections returns how many connections to the API are open and idle.
func (s *Server) IdleConnections() (n int) {
	c := s.api.listener
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if conn.idleSince > 0 {
			n++
		}
	}
	return n
}

// MetricsIdleTimeout returns how long a connection to the metrics' own address may be idle.
func (s *Server) MetricsIdleTimeout() time.Duration { return s.metrics.IdleTimeout }

// LimitConnections returns the limiting listener and its ConnState hook.
func LimitConnections(l net.Listener, maxOpen int) (net.Listener, func(net.Conn, http.ConnState)) {
	limited := limitConnections(l, maxOpen)
	return limited, limited.connState
}

// FitDescriptors returns the limits that fit into the limit of open files: connections to the API, and as many to the
// bucket, requests to the bucket, and connections of subscribers.
func FitDescriptors(c Config) (connections, requests, subscribers int, err error) {
	c, err = c.checked()
	return c.Limits.MaxConnections, c.Limits.MaxRequests, c.Limits.subscribers, err
}

// Usable and BytesPerInode are the unexported ones.
var Usable = usable

const BytesPerInode = bytesPerInode

// Retried returns how many failures counted as a try. It also works after Stop.
func (s *Server) Retried() (n float64, err error) {
	families, err := s.registry.Gather()
	for _, f := range families {
		if f.GetName() == "flavorless_deliveries_retried_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n, err
}
