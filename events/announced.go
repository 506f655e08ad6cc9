package events

import "time"

// Announced is a change in the log of what has been announced.
type Announced struct {
	Sequence uint64 // in the log: 1 or more, and greater than those of all before
	Message
}

// Start says where reading the log of changes begins: behind a position; else with what was announced at a time or later; with
// neither, with what comes from now on.
type Start struct {
	After     uint64
	Beginning bool // behind position 0, so with the first change that was ever announced; After is 0 then
	Since     time.Time
}

// HasPosition reports whether reading begins behind a position.
func (s Start) HasPosition() bool { return s.After > 0 || s.Beginning }
