package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxChain is how often Lambda invokes a function in one chain of events, unless its RecursiveLoop is Allow. AWS says
// "approximately". https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
const maxChain = 16

// recursiveInvocation is the error of an invocation that Lambda refused to start.
const recursiveInvocation = "RecursiveInvocationException"

// lineage counts the invocations of each function, by a hash of its name, in the chain of events that led to an event.
// It is part of the trace header: Lambda passes it to a function, the SDK sends it with each call, and SNS, SQS and S3
// pass it on with messages and events.
// https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
type lineage map[string]int

func parseLineage(header string) lineage {
	l := lineage{}
	trace, err := url.PathUnescape(header) // the SDK escapes it
	if err != nil {
		return l
	}
	for field := range strings.SplitSeq(trace, ";") {
		hops, found := strings.CutPrefix(field, "Lineage=")
		if !found {
			continue
		}
		for hop := range strings.SplitSeq(hops, "|") {
			function, count, _ := strings.Cut(hop, ":")
			if n, err := strconv.Atoi(count); err == nil {
				l[function] = n
			}
		}
	}
	return l
}

// header returns the trace header with which a function is invoked.
func (l lineage) header() string {
	var hops []string
	for _, function := range slices.Sorted(maps.Keys(l)) {
		hops = append(hops, fmt.Sprintf("%s:%d", function, l[function]))
	}
	return "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=" + strings.Join(hops, "|")
}

// merge adds the lineage of another event of the same batch.
func (l lineage) merge(other lineage) {
	for function, n := range other {
		l[function] = max(l[function], n)
	}
}

type lineageKey struct{}

// withLineage returns a context for invocations with an event of that lineage.
func withLineage(ctx context.Context, l lineage) context.Context {
	return context.WithValue(ctx, lineageKey{}, l)
}

// extendLineage returns the lineage of the events that an invocation causes, or false if Lambda refuses to start the
// invocation.
func (f *Function) extendLineage(ctx context.Context) (lineage, bool) {
	before, _ := ctx.Value(lineageKey{}).(lineage)
	l, hash := lineage{}, fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(f.Name)))
	l.merge(before)
	l[hash]++
	return l, l[hash] <= maxChain || f.recursive.Load()
}

// SetRecursive sets whether the function may be invoked more than maxChain times in one chain of events.
func (f *Function) SetRecursive(allow bool) { f.recursive.Store(allow) }

// lineages holds the lineages of the messages that functions sent, by a hash of their bodies, which SNS passes on to
// SQS unchanged.
type lineages struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]lineage
}

// note records the messages in a request to SNS or SQS. It ignores invalid requests, which the service refuses.
func (l *lineages) note(service string, header http.Header, body []byte) {
	var bodies []string
	switch service {
	case "sns":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return
		}
		for name, values := range form {
			if name == "Message" || strings.HasSuffix(name, ".Message") {
				bodies = append(bodies, values...)
			}
		}
	case "sqs":
		type message struct{ MessageBody string }
		var request struct {
			message
			Entries []message
		}
		if json.Unmarshal(body, &request) != nil {
			return
		}
		for _, m := range append(request.Entries, request.message) {
			bodies = append(bodies, m.MessageBody)
		}
	}
	chain := parseLineage(header.Get("X-Amzn-Trace-Id"))
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, body := range bodies {
		l.of[sha256.Sum256([]byte(body))] = chain
	}
}

// batch returns the lineage of an event with these messages.
func (l *lineages) batch(messages []message) lineage {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := lineage{}
	for _, m := range messages {
		all.merge(l.of[sha256.Sum256([]byte(m.Body))])
	}
	return all
}
