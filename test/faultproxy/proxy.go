// Package faultproxy stands before a judge, an emulator of an AWS service, and does what judges never do: it throttles,
// breaks connections before and after the call has happened, fails single entries of batches, and refuses writes to items that a
// transaction holds. It also counts.
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

// Count is what was asked of one operation. Calls are counted as they come: with those that meet a fault.
type Count struct {
	Calls   int
	Bytes   int // of the bodies
	Entries int // keys, statements, messages; 1 for an operation that is no batch
	Faults  int // calls that met one
	Units   float64

	Conflicts int // calls that were refused because a transaction held an item of theirs
}

// New returns a proxy for the judge at target, such as http://127.0.0.1:8000. The seed decides who meets a fault, as far
// as the order of the calls is the same.
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

// Counts gives what has been counted, by operation, and begins anew.
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
	fate := p.fate(c)
	holder, status, refusal := p.lock(c, &fate.hold)
	defer func() { p.unlock(holder) }()
	if refusal != nil {
		w.Header().Set("Content-Type", c.contentType())
		w.WriteHeader(status)
		w.Write(refusal) //nolint:errcheck // the caller is gone
		return
	}
	if fate.hold.held != nil {
		fate.hold.held()
	}
	if fate.delay > 0 && !sleep(r.Context(), fate.delay) || !holder.wait(r.Context()) {
		return
	}
	switch {
	case fate.refuse.code != "":
		c.refuse(w, fate.refuse)
		return
	case fate.reset == before:
		reset(w)
		return
	}
	c.leaveOut(fate.failed)
	c.meter()
	header, answer := http.Header{}, []byte(nil)
	status = http.StatusOK
	if c.goes() {
		if status, header, answer, err = p.forward(r, c); err != nil {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprintln(w, err)
			return
		}
	}
	p.unlock(holder) // before the answer: the caller may write to the items next
	if fate.reset == after {
		reset(w)
		return
	}
	p.charge(c, answer)
	if status < http.StatusMultipleChoices {
		status, answer = c.mend(status, answer, fate)
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", c.contentType())
	}
	if header.Get("X-Amz-Crc32") != "" { // the SDK verifies it
		header.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(answer)), 10))
	}
	header.Set("Content-Length", strconv.Itoa(len(answer)))
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	w.Write(answer) //nolint:errcheck // the caller is gone
}

// fate is what the rules do to one call.
type fate struct {
	refuse  Fault
	reset   kind // before or after, if any
	delay   time.Duration
	hold    Fault
	failed  map[int]string // entries that are not to be done, and the codes with which they fail
	pretend map[int]string // entries that are to be done, and fail nevertheless
}

func (p *Proxy) fate(c *call) fate {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := fate{failed: map[int]string{}, pretend: map[int]string{}}
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
		case partial, pretend:
			marks := f.failed
			if rule.Fault.kind == pretend {
				marks = f.pretend
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
	n.Calls, n.Bytes, n.Entries = n.Calls+1, n.Bytes+len(c.body), n.Entries+max(1, c.entries())
	if met {
		n.Faults++
	}
	p.counts[c.operation] = n
	return f
}

func (p *Proxy) roll(chance float64) bool { return chance == 0 || p.random.Float64() < chance }

// charge counts the capacity units that the answer speaks of.
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
	// What is on its way to the service gets there, though the caller hangs up.
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

// reset closes the connection so that the other side sees an error, not an end.
func reset(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // else it is only closed, which is an error, too
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
