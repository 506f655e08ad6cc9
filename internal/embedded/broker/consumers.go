package broker

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// rewriteOf returns the function that rewrites the body of a request to subject for the server, or nil.
func rewriteOf(subject string) func([]byte) []byte {
	switch {
	case subject == "$JS.API.STREAM.NAMES":
		return findMirror
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."),
		strings.HasPrefix(subject, "$JS.API.CONSUMER.DURABLE.CREATE."):
		return restrictConsumer
	}
	return nil
}

// findMirror lets a client find the stream of the changes by their subject. The server would not find the mirror, which
// has no subjects. Without a subject in the request it returns the only stream that subscribers have.
func findMirror(payload []byte) []byte {
	var request struct {
		Subject string `json:"subject"`
	}
	prefix := strings.TrimSuffix(changesSubject, ">")
	if json.Unmarshal(payload, &request) == nil && strings.HasPrefix(request.Subject, prefix) {
		return []byte("{}")
	}
	return payload
}

// idleConsumer is how long a consumer without a durable name may be idle before the server deletes it.
const idleConsumer = time.Minute

// restrictConsumer returns the request to create a consumer as the server may get it:
//
//   - It creates a consumer or finds an identical one. Subscribers share a credential, and none may change the
//     consumer of another.
//   - A deliver subject that is not an inbox is replaced by one that the server refuses.
//   - The limits of unacknowledged messages and of waiting requests, which the server keeps in memory, are lowered.
//     Client libraries ask for more by default.
//   - A body that is not such a request is replaced by one that the server refuses.
func restrictConsumer(payload []byte) []byte {
	var request server.CreateConsumerRequest
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields() // as the server does
	if err := d.Decode(&request); err != nil || d.More() {
		return []byte("{")
	}
	request.Action = server.ActionCreate
	c := &request.Config
	if c.DeliverSubject != "" && !strings.HasPrefix(c.DeliverSubject, inbox) {
		c.DeliverSubject = "$JS.API.refused"
	}
	if c.AckPolicy != server.AckNone && (c.MaxAckPending < 0 || c.MaxAckPending > MaxOutstanding) {
		c.MaxAckPending = MaxOutstanding
	}
	c.MaxWaiting = min(c.MaxWaiting, server.JSWaitQueueDefaultMax)
	if c.Durable == "" && (c.InactiveThreshold <= 0 || c.InactiveThreshold > idleConsumer) {
		c.InactiveThreshold = idleConsumer
	}
	restricted, err := json.Marshal(request)
	if err != nil {
		return []byte("{")
	}
	return restricted
}
