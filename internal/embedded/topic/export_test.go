package topic

import (
	"golang.org/x/time/rate"
)

// Reconnect cuts the connection that followers share. The client reconnects by itself.
func (l *Log) Reconnect() error { return l.readers.ForceReconnect() }

// Unlimit removes the limit of bytes per second.
func (t *Topic) Unlimit() { t.rate.SetLimit(rate.Inf) }
