package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// fetcher fetches messages of one consumer, a group at a time. It never requests more than it returns at once: every
// delivery is a try, and no message waits in a buffer while its AckWait passes.
//
// Fetch and FetchNoWait of nats.go are not used: they accept no limit of messages together with one of bytes, subscribe
// again for each fetch, and do not return messages to the queue that arrive after the context has ended.
type fetcher struct {
	conn   *nats.Conn
	sub    *nats.Subscription
	api    string // subject of requests
	prefix string // prefix of the reply subjects; the number of the request follows
	next   int    // number of the next request
}

func newFetcher(conn *nats.Conn, stream broker.Stream, consumer string) (*fetcher, error) {
	f := &fetcher{
		conn: conn, prefix: conn.NewInbox() + ".",
		api: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer),
	}
	sub, err := conn.SubscribeSync(f.prefix + "*")
	if err != nil {
		return nil, err
	}
	f.sub = sub
	return f, sub.SetPendingLimits(-1, -1)
}

// pull is a request for messages.
// https://docs.nats.io/reference/reference-protocols/nats_api_reference
type pull struct {
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes,omitempty"`
	NoWait   bool          `json:"no_wait,omitempty"`
	Expires  time.Duration `json:"expires,omitempty"` // nanoseconds
}

const (
	pullExpires = 30 * time.Second // of a request that waits for a message
	pullGrace   = 5 * time.Second  // the server answers any other request within this time
)

// group waits for a message and adds those that are ready at once, up to the limits. When ctx ends, it returns the
// messages that it has, possibly none.
func (f *fetcher) group(ctx context.Context, maxMessages, maxBytes int) ([]*nats.Msg, error) {
	first, err := f.first(ctx)
	if err != nil || first == nil {
		return nil, err
	}
	group := []*nats.Msg{first}
	bytes := maxBytes - first.Size()
	if maxMessages == 1 || bytes <= 0 {
		return group, nil
	}
	reply, err := f.request(pull{Batch: maxMessages - 1, MaxBytes: bytes, NoWait: true})
	if err != nil {
		return group, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullGrace)
	defer cancel()
	for len(group) < maxMessages {
		m, err := f.receive(ctx, reply)
		if err != nil || m == nil {
			break
		}
		group = append(group, m)
	}
	return group, nil
}

// first waits for a message. It returns nil when ctx ends.
func (f *fetcher) first(ctx context.Context) (m *nats.Msg, err error) {
	for ctx.Err() == nil && m == nil && err == nil {
		var reply string
		if reply, err = f.request(pull{Batch: 1, Expires: pullExpires}); err == nil {
			ctx, cancel := context.WithTimeout(ctx, pullExpires+pullGrace)
			m, err = f.receive(ctx, reply)
			cancel()
		}
	}
	return m, err
}

// receive returns the next message, or nil when the request or ctx ends without one.
func (f *fetcher) receive(ctx context.Context, reply string) (*nats.Msg, error) {
	for {
		m, err := f.sub.NextMsgWithContext(ctx)
		switch {
		case m == nil && ctx.Err() != nil:
			return nil, nil //nolint:nilerr // the request or ctx has ended
		case err != nil:
			return nil, err
		case !isStatus(m):
			return m, nil
		case m.Subject != reply: // the end of an earlier request
		case m.Header.Get("Status") == "503", m.Header.Get("Status") == "409":
			return nil, fmt.Errorf("the server refuses to deliver: %s", m.Header.Get("Description"))
		default: // for example 408, expired
			return nil, nil
		}
	}
}

func (f *fetcher) request(r pull) (reply string, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	f.next++
	reply = f.prefix + strconv.Itoa(f.next)
	return reply, f.conn.PublishRequest(f.api, reply, body)
}

// drain ends the subscription and returns the messages that still arrive to the queue.
func (f *fetcher) drain() {
	if err := f.sub.Drain(); err != nil {
		return
	}
	for {
		m, err := f.sub.NextMsg(pullGrace)
		if err != nil {
			if errors.Is(err, nats.ErrTimeout) {
				_ = f.sub.Unsubscribe()
			}
			return
		}
		if !isStatus(m) {
			_ = f.conn.Publish(m.Reply, []byte("-NAK"))
		}
	}
}

// isStatus reports whether m is a status of a request and not a message. A stored message has a subject for its
// acknowledgement, even if it has the header of a status.
func isStatus(m *nats.Msg) bool { return m.Reply == "" && m.Header.Get("Status") != "" }
