package local

import (
	"context"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
)

// Stored hands an object to the house as its bucket does, which never has one of a bad form.
func (s *Server) Stored(ctx context.Context, o events.Object) error { return s.stored(ctx, o) }

// CloseTable takes the table away under the running house.
func (s *Server) CloseTable() error { return s.db.Close() }

// StopQueues takes the queues away under the running house.
func (s *Server) StopQueues() { s.streams.Stop() }

// ConditionOfDisk is how a disk is with so many bytes free.
func ConditionOfDisk(free uint64, err error) api.Condition { return conditionOfDisk(free, err) }

// StopGateway takes the bucket away under the running house.
func (s *Server) StopGateway(ctx context.Context) error { return s.gateway.Stop(ctx) }

// Redrive puts all dead letters back.
func (s *Server) Redrive(ctx context.Context) (int, error) { return s.streams.RedriveAll(ctx) }
