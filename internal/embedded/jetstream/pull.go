package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// puller asks the server for messages of one queue. It never has more on the way than it will hand out at once, so that
// deliveries are tries, and nothing grows old in a buffer.
type puller struct {
	conn   *nats.Conn
	sub    *nats.Subscription
	api    string
	prefix string
	next   int
}

func newPuller(conn *nats.Conn, stream Stream, consumer string) (*puller, error) {
	p := &puller{
		conn: conn, prefix: conn.NewInbox() + ".",
		api: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer),
	}
	sub, err := conn.SubscribeSync(p.prefix + "*")
	if err != nil {
		return nil, err
	}
	p.sub = sub
	return p, sub.SetPendingLimits(-1, -1)
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
	pullExpires = 30 * time.Second // after which an idle request is renewed
	pullGrace   = 5 * time.Second  // within which the server answers any request
)

// group waits for a message and adds those that are ready at once, up to the limits. When ctx ends it returns what it
// has got, possibly nothing.
func (p *puller) group(ctx context.Context, maxMessages, maxBytes int) ([]*nats.Msg, error) {
	first, err := p.first(ctx)
	if err != nil || first == nil {
		return nil, err
	}
	group := []*nats.Msg{first}
	bytes := maxBytes - first.Size()
	if maxMessages == 1 || bytes <= 0 {
		return group, nil
	}
	reply, err := p.request(pull{Batch: maxMessages - 1, MaxBytes: bytes, NoWait: true})
	if err != nil {
		return group, nil
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), pullGrace)
	defer cancel()
	for len(group) < maxMessages {
		m, err := p.sub.NextMsgWithContext(deadline)
		if err != nil {
			break
		}
		if !isStatus(m) {
			group = append(group, m)
		} else if m.Subject == reply {
			break
		}
	}
	return group, nil
}

func (p *puller) first(ctx context.Context) (*nats.Msg, error) {
	for ctx.Err() == nil {
		reply, err := p.request(pull{Batch: 1, Expires: pullExpires})
		if err != nil {
			return nil, err
		}
		m, err := p.answer(ctx, reply)
		if m != nil || err != nil {
			return m, err
		}
	}
	return nil, nil
}

// answer waits for a message, or for the request to end without one.
func (p *puller) answer(ctx context.Context, reply string) (*nats.Msg, error) {
	deadline, cancel := context.WithTimeout(ctx, pullExpires+pullGrace)
	defer cancel()
	for {
		m, err := p.sub.NextMsgWithContext(deadline)
		switch {
		case deadline.Err() != nil && m == nil:
			return nil, nil
		case err != nil:
			return nil, err
		case !isStatus(m):
			return m, nil
		case m.Subject != reply:
			continue // of a request that is over
		case m.Header.Get("Status") == "408":
			return nil, nil // expired
		case m.Header.Get("Status") == "503", m.Header.Get("Status") == "409":
			return nil, fmt.Errorf("the server refuses: %s", m.Header.Get("Description"))
		default:
			return nil, nil
		}
	}
}

func (p *puller) request(r pull) (reply string, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	p.next++
	reply = p.prefix + strconv.Itoa(p.next)
	return reply, p.conn.PublishRequest(p.api, reply, body)
}

// drain ends the subscription and gives back what was already on its way.
func (p *puller) drain() {
	if err := p.sub.Drain(); err != nil {
		return
	}
	for {
		m, err := p.sub.NextMsg(pullGrace)
		if err != nil {
			if errors.Is(err, nats.ErrTimeout) {
				_ = p.sub.Unsubscribe()
			}
			return
		}
		if !isStatus(m) {
			_ = p.conn.Publish(m.Reply, []byte("-NAK"))
		}
	}
}

// isStatus reports whether the server answers a request for messages with a remark. It has no subject for an
// acknowledgement; a stored message has one, even if it looks like a remark.
func isStatus(m *nats.Msg) bool { return m.Reply == "" && m.Header.Get("Status") != "" }
