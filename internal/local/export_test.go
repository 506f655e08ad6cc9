package local

import "context"

// Tidy does at once what is done every hour. It fails with ErrNotNow when uploads could not be forgotten.
func (s *Server) Tidy(ctx context.Context) error { return s.tidy(ctx) }

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
