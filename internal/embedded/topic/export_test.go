package topic

// Reconnect cuts the connection that followers share. The client reconnects by itself.
func (l *Log) Reconnect() error { return l.readers.ForceReconnect() }

// ChangesBurst is how many bytes of changes may be published at once.
const ChangesBurst = changesBurst

// StopRefill lets changes be published only as far as the burst goes.
func (l *Log) StopRefill() { l.rate.SetLimit(1e-9) }
