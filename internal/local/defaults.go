package local

import (
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/local/retention"
)

// Defaults returns a configuration with the values that are used in place of zero values, for programs that show them.
func Defaults() Config {
	return Config{
		ReadFor: DefaultReadFor, SortFrom: ingest.DefaultSortFrom, WebhookTries: DefaultWebhookTries,
		Ignore: events.DefaultIgnoreList(),
		Limits: DefaultLimits(), Retention: retention.DefaultPolicy(),
	}
}
