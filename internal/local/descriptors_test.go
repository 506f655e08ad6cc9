package local_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/internal/local"
)

// TestConnectionsFitDescriptors checks that all connections, with a file for each upload, leave enough file descriptors
// for the process: 50, and 18 for each webhook.
func TestConnectionsFitDescriptors(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var log bytes.Buffer
		c := local.Config{Dir: "data", Log: slog.New(slog.NewTextHandler(&log, nil))}
		c.Limits.OpenFiles = rapid.IntRange(1, 10_000).Draw(t, "open files")
		c.Limits.MaxConnections = rapid.IntRange(1, 3000).Draw(t, "connections")
		c.Limits.MaxRequests = rapid.IntRange(1, c.Limits.MaxConnections).Draw(t, "requests")
		if rapid.Bool().Draw(t, "metrics") {
			c.Metrics = "127.0.0.1:0"
		}
		if rapid.Bool().Draw(t, "webhook") {
			c.Webhooks = []string{"https://example.com/"}
		}
		own := 50 + 18*len(c.Webhooks)
		connections, requests, subscribers, err := local.FitDescriptors(c)
		if err != nil {
			if c.Limits.OpenFiles > own+50 {
				t.Fatalf("FitDescriptors with %d open files: %v", c.Limits.OpenFiles, err)
			}
			return
		}
		if used := own + 3*connections + subscribers; used > c.Limits.OpenFiles {
			t.Errorf("%d connections and %d subscribers use %d files, want at most %d",
				connections, subscribers, used, c.Limits.OpenFiles)
		}
		if requests > connections || connections < 1 || requests < 1 || subscribers < 2 {
			t.Errorf("%d connections, %d requests, %d subscribers", connections, requests, subscribers)
		}
		lowered := connections < c.Limits.MaxConnections || requests < c.Limits.MaxRequests
		if lowered && !strings.Contains(log.String(), "event=descriptors") {
			t.Error("the limits were lowered without a log entry")
		}
		if lowered && c.Limits.OpenFiles > own+3*c.Limits.MaxConnections+256+64+20 {
			t.Errorf("got %d connections and %d requests, want the configured ones, which fit", connections, requests)
		}
	})
}
