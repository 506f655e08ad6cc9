package ingest

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/flavorless/flavorless/events"
)

// Announcer tells subscribers what changed.
type Announcer struct {
	Changes topic
	Log     *slog.Logger
}

// Announce publishes changes, in order but with several requests under way, so that a subscriber goes by their versions.
// On an error some may have been published; the same changes have to come again.
func (a *Announcer) Announce(ctx context.Context, changes []events.Change) error {
	out := publisher{a.Changes, a.Log}.stream(ctx)
	for _, c := range changes {
		if out.failure() != nil {
			break
		}
		out.add(c.Message())
	}
	if err := out.close(); err != nil {
		return fmt.Errorf("announcing %d changes: %w", len(changes), err)
	}
	return nil
}
