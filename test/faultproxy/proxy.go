// Package faultproxy is a proxy for emulators of AWS services that injects the faults which emulators lack: it
// throttles, resets connections before and after a call is executed, fails single entries of batches, and refuses
// writes to items that a transaction has locked. It also counts calls.
package faultproxy

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Proxy is an http.Handler. It may be used concurrently.
type Proxy struct {
	target string
	client http.Client

	mu     sync.Mutex
	random *rand.Rand
	rules  []Rule
	counts map[string]Count
	locks  locks
}

// Count is the count of calls of one operation, including those with faults.
type Count struct {
	Calls     int
	Entries   int     // keys, statements or messages; 1 for an operation that is no batch
	Faults    int     // calls with an injected fault
	Units     float64 // consumed capacity
	Conflicts int     // calls that were refused because a transaction had locked an item
}

// New returns a proxy for the emulator at target, such as http://127.0.0.1:8000. With the same seed and the same order
// of calls, the same calls have faults.
func New(target string, seed uint64, rules ...Rule) *Proxy {
	return &Proxy{
		target: target, random: rand.New(rand.NewPCG(seed, seed)), rules: slices.Clone(rules), counts: map[string]Count{},
		locks:  locks{holders: map[string]*holder{}, keyNames: map[string][]string{}},
		client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}},
	}
}

// SetRules replaces the rules.
func (p *Proxy) SetRules(rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = slices.Clone(rules)
}

// Counts returns the counts by operation, and resets them.
func (p *Proxy) Counts() map[string]Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := maps.Clone(p.counts)
	clear(p.counts)
	return counts
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		reset(w)
		return
	}
	c := parse(r.Header, body)
	effects := p.effects(c)
	holder, status, refusal := p.lock(c, &effects.hold)
	defer func() { p.unlock(holder) }()
	if refusal != nil {
		w.Header().Set("Content-Type", c.contentType())
		w.WriteHeader(status)
		_, _ = w.Write(refusal) // an error means that the caller has disconnected
		return
	}
	if effects.hold.held != nil {
		effects.hold.held()
	}
	if effects.delay > 0 && !sleep(r.Context(), effects.delay) || !holder.wait(r.Context()) {
		return
	}
	switch {
	case effects.refuse.code != "":
		c.refuse(w, effects.refuse)
		return
	case effects.reset == before:
		reset(w)
		return
	}
	c.removeEntries(effects.failed)
	c.requestCapacity()
	header, answer := http.Header{}, []byte(nil)
	status = http.StatusOK
	if c.hasWork() {
		if status, header, answer, err = p.forward(r, c); err != nil {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprintln(w, err)
			return
		}
	}
	p.unlock(holder) // before the response, after which the caller may write to the items
	if effects.reset == after {
		reset(w)
		return
	}
	p.charge(c, answer)
	if status < http.StatusMultipleChoices {
		status, answer = c.addFailures(status, answer, effects)
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", c.contentType())
	}
	if header.Get("X-Amz-Crc32") != "" { // the SDK verifies it
		header.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(answer)), 10))
	}
	if r.Method != http.MethodHead { // its header describes a body that is not sent
		header.Set("Content-Length", strconv.Itoa(len(answer)))
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(answer) // an error means that the caller has disconnected
}

// effects are what the rules do to one call.
type effects struct {
	refuse      Fault
	reset       kind // before or after, if any
	delay       time.Duration
	hold        Fault
	failed      map[int]string // codes of entries that fail without being executed
	failedAfter map[int]string // codes of entries that fail after being executed
}

func (p *Proxy) effects(c *call) effects {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := effects{failed: map[int]string{}, failedAfter: map[int]string{}}
	met := false
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.Operation != "" && rule.Operation != c.operation || rule.Times < 0 {
			continue
		}
		if rule.Skip > 0 {
			rule.Skip--
			continue
		}
		hit := false
		switch rule.Fault.kind {
		case partial, partialAfter:
			marks := f.failed
			if rule.Fault.kind == partialAfter {
				marks = f.failedAfter
			}
			for i := range c.entries() {
				if p.roll(rule.Chance) && f.failed[i] == "" {
					marks[i], hit = rule.Fault.code, true
				}
			}
		default:
			if hit = p.roll(rule.Chance); !hit {
				break
			}
			switch rule.Fault.kind {
			case refuse:
				f.refuse = rule.Fault
			case rate:
				if hit = !rule.Fault.bucket.take(max(1, c.entries())); hit {
					f.refuse = rule.Fault
				}
			case slow:
				f.delay = rule.Fault.delay
			case hold:
				f.hold = rule.Fault
			default:
				f.reset = rule.Fault.kind
			}
		}
		if hit && rule.Times > 0 {
			if rule.Times--; rule.Times == 0 {
				rule.Times = -1
			}
		}
		met = met || hit
	}
	n := p.counts[c.operation]
	n.Calls, n.Entries = n.Calls+1, n.Entries+max(1, c.entries())
	if met {
		n.Faults++
	}
	p.counts[c.operation] = n
	return f
}

func (p *Proxy) roll(chance float64) bool { return chance == 0 || p.random.Float64() < chance }

// charge counts the capacity units in a response.
func (p *Proxy) charge(c *call, answer []byte) {
	units := c.units(answer)
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.counts[c.operation]
	n.Units += units
	p.counts[c.operation] = n
}

func (p *Proxy) forward(r *http.Request, c *call) (status int, header http.Header, answer []byte, err error) {
	target, err := url.JoinPath(p.target, r.URL.Path)
	if err != nil {
		return 0, nil, nil, err
	}
	// A forwarded call reaches the service even if the caller disconnects.
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, target, bytes.NewReader(c.body))
	if err != nil {
		return 0, nil, nil, err
	}
	out.URL.RawQuery = r.URL.RawQuery
	out.Header = r.Header.Clone()
	out.Header.Del("Accept-Encoding")
	out.Header.Del("Connection")
	out.Host = r.Host
	in, err := p.client.Do(out)
	if err != nil {
		return 0, nil, nil, err
	}
	defer in.Body.Close()
	answer, err = io.ReadAll(in.Body)
	header = in.Header
	for name := range header {
		if strings.EqualFold(name, "Connection") || strings.EqualFold(name, "Transfer-Encoding") {
			header.Del(name)
		}
	}
	return in.StatusCode, header, answer, err
}

// reset resets the connection, which the other side sees as an error.
func reset(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // if this fails, closing is also an error for the other side
			}
			conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
