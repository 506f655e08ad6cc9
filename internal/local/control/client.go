package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/flavorless/flavorless/internal/operator"
)

// Client implements [operator.DeadLetters] for a server on this machine.
type Client struct {
	url, secret string
	queues      []operator.DeadQueue // as they were when the client was opened
}

var _ operator.DeadLetters = (*Client)(nil)

// Open returns a client of the server whose API has this base URL, after reading its dead letters.
func Open(ctx context.Context, api, secret string) (*Client, error) {
	c := &Client{url: api + Path, secret: secret}
	if err := c.call(ctx, http.MethodGet, nil, &c.queues); err != nil {
		return nil, err
	}
	return c, nil
}

// DeadQueues implements [operator.DeadLetters].
func (c *Client) DeadQueues() []string {
	names := make([]string, len(c.queues))
	for i, q := range c.queues {
		names[i] = q.Queue
	}
	return names
}

// HasQueue reports whether the server has a dead-letter queue with this name or alias.
func (c *Client) HasQueue(name string) bool {
	return name != "" && slices.ContainsFunc(c.queues, func(q operator.DeadQueue) bool {
		return q.Queue == name || q.Alias == name
	})
}

// DeadQueue implements [operator.DeadLetters]. It returns what was in the queue when the client was opened.
func (c *Client) DeadQueue(_ context.Context, name string, limit int) (operator.DeadQueue, error) {
	for _, q := range c.queues {
		if q.Queue == name {
			q.Letters = q.Letters[:min(limit, len(q.Letters))]
			return q, nil
		}
	}
	return operator.DeadQueue{}, fmt.Errorf("there is no dead-letter queue %q", name)
}

// Redrive implements [operator.DeadLetters]. A target that is no queue is the id of a message.
func (c *Client) Redrive(ctx context.Context, target string, progress func(int64)) (operator.RedriveResult, error) {
	query := url.Values{"id": {target}}
	if c.HasQueue(target) {
		query = url.Values{"queue": {target}}
	}
	r := operator.RedriveResult{Queue: target}
	if err := c.call(ctx, http.MethodPost, query, &r); err != nil {
		return r, err
	}
	progress(r.Restored)
	return r, nil
}

func (c *Client) call(ctx context.Context, method string, query url.Values, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.url+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.secret)
	res, err := (&http.Client{}).Do(req) // without a timeout: redriving many messages takes long, and ctx can end it
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s: %s", res.Status, strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, answer)
}
