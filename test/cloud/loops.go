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
// "approximately".
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
const maxChain = 16

// recursiveInvocation is the error of an invocation that was not begun.
const recursiveInvocation = "RecursiveInvocationException"

// lineage says how often functions were invoked in the chain of events that led to an event, by the functions' hashes. It travels
// in the trace header: Lambda gives it to a function, the SDK sends it along with each call, and SNS, SQS and S3 pass it on with
// messages and events. https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
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

// header is the trace header with which a function is invoked.
func (l lineage) header() string {
	var hops []string
	for _, function := range slices.Sorted(maps.Keys(l)) {
		hops = append(hops, fmt.Sprintf("%s:%d", function, l[function]))
	}
	return "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=" + strings.Join(hops, "|")
}

// and merges the lineages of the events in one batch.
func (l lineage) and(other lineage) {
	for function, n := range other {
		l[function] = max(l[function], n)
	}
}

type lineageKey struct{}

// withLineage returns a context in which a function is invoked with an event of that lineage.
func withLineage(ctx context.Context, l lineage) context.Context {
	return context.WithValue(ctx, lineageKey{}, l)
}

// next gives the lineage of what the function does in the invocation that is to begin, or false if Lambda refuses to begin it.
func (f *Function) next(ctx context.Context) (lineage, bool) {
	before, _ := ctx.Value(lineageKey{}).(lineage)
	l, hash := lineage{}, fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(f.Name)))
	l.and(before)
	l[hash]++
	return l, l[hash] <= maxChain || f.recursive.Load()
}

// SetRecursive changes whether the function may be invoked more than maxChain times in one chain of events.
func (f *Function) SetRecursive(allow bool) { f.recursive.Store(allow) }

// lineages are those of the messages that functions sent, by a hash of their texts. SNS passes texts on to SQS as they are.
type lineages struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]lineage
}

// note takes the texts of messages from a request to SNS or SQS.
func (l *lineages) note(service string, header http.Header, body []byte) {
	var messages []string
	switch service {
	case "sns":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return // the service says so, too
		}
		for name, values := range form {
			if name == "Message" || strings.HasSuffix(name, ".Message") {
				messages = append(messages, values...)
			}
		}
	case "sqs":
		type message struct{ MessageBody string }
		var request struct {
			message
			Entries []message
		}
		if json.Unmarshal(body, &request) != nil {
			return // likewise
		}
		for _, m := range append(request.Entries, request.message) {
			messages = append(messages, m.MessageBody)
		}
	}
	chain := parseLineage(header.Get("X-Amzn-Trace-Id"))
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range messages {
		l.of[sha256.Sum256([]byte(text))] = chain
	}
}

// batch gives the lineage of an event with these messages.
func (l *lineages) batch(messages []message) lineage {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := lineage{}
	for _, m := range messages {
		all.and(l.of[sha256.Sum256([]byte(m.Body))])
	}
	return all
}
