package faultproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// locks are the items that transactions in progress have locked. DynamoDB refuses other writes to them; DynamoDB Local
// executes one transaction after the other and never does. PartiQL statements are not parsed, so they are never
// refused.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling
type locks struct {
	holders  map[string]*holder  // by item
	keyNames map[string][]string // by table; known after a request with a key
}

// holder is a transaction in progress.
type holder struct {
	items []string
	left  int           // refusals until it may be executed
	free  chan struct{} // closed when left is 0
}

// write is a write in a request: its table, and the key or the whole item.
type write struct {
	TableName string
	Key, Item map[string]any
}

// writes returns the writes of a plain request or of a transaction.
func (c *call) writes() []write {
	switch c.operation {
	case "PutItem", "UpdateItem", "DeleteItem":
		var one write
		_ = json.Unmarshal(c.body, &one) // DynamoDB refuses an invalid request
		return []write{one}
	case "TransactWriteItems":
		var request struct{ TransactItems []map[string]write }
		_ = json.Unmarshal(c.body, &request)
		var all []write
		for _, entry := range request.TransactItems {
			for _, one := range entry {
				all = append(all, one)
			}
		}
		return all
	}
	return nil
}

// item returns an identifier of a write's item, or "" if the names of the table's keys are not known yet.
func (l *locks) item(w write) string {
	if w.Key != nil {
		l.keyNames[w.TableName] = slices.Sorted(maps.Keys(w.Key))
	} else {
		w.Key = w.Item
	}
	names, known := l.keyNames[w.TableName]
	if !known {
		return ""
	}
	key := make([]any, len(names))
	for i, name := range names {
		key[i] = w.Key[name]
	}
	return w.TableName + string(encode(key))
}

// lock returns a response that refuses the call if a transaction has locked one of its items. Otherwise, if the call is
// a transaction, it locks the items and returns their holder for unlock.
func (p *Proxy) lock(c *call, hold *Fault) (h *holder, status int, refusal []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	writes := c.writes()
	items := make([]string, len(writes))
	conflicts := map[int]string{}
	for i, w := range writes {
		items[i] = p.locks.item(w)
		if holder := p.locks.holders[items[i]]; holder != nil {
			conflicts[i] = "TransactionConflict"
			holder.refuse()
		}
	}
	switch {
	case len(conflicts) > 0:
		n := p.counts[c.operation]
		n.Conflicts++
		p.counts[c.operation] = n
		if l, ok := c.batch.(*list); ok {
			status, refusal = cancel(l, http.StatusOK, nil, effects{failed: conflicts})
			return nil, status, refusal
		}
		const code = "com.amazonaws.dynamodb.v20120810#TransactionConflictException"
		return nil, http.StatusBadRequest, fmt.Appendf(nil, `{"__type":%q,"message":"Transaction is ongoing for the item"}`,
			code)
	case c.operation == "TransactWriteItems":
		h = &holder{items: items, left: hold.refusals, free: make(chan struct{})}
		if h.left == 0 {
			close(h.free)
		}
		for _, item := range items {
			if item != "" {
				p.locks.holders[item] = h
			}
		}
	}
	return h, 0, nil
}

func (h *holder) refuse() {
	if h.left--; h.left == 0 {
		close(h.free)
	}
}

// wait waits until enough writes have been refused. It returns false if ctx ends before.
func (h *holder) wait(ctx context.Context) bool {
	if h == nil {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-h.free:
		return true
	}
}

func (p *Proxy) unlock(h *holder) {
	if h == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, item := range h.items {
		if p.locks.holders[item] == h {
			delete(p.locks.holders, item)
		}
	}
}
