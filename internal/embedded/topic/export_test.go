package topic

// Reconnect cuts the connection that followers share. The client reconnects by itself.
func (l *Log) Reconnect() error { return l.readers.ForceReconnect() }
