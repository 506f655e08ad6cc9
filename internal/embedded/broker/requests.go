package broker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/time/rate"
)

// maxLine is the longest line of the protocol, in bytes, as for the server.
const maxLine = server.MAX_CONTROL_LINE_SIZE

// requests reads what a client sends and passes it on in the one form in which it was understood here, so that the server
// can't understand it otherwise. A message that is not allowed is replaced by one that the server refuses: its answer then
// comes in order, and in the words that client libraries know.
// https://docs.nats.io/reference/reference-protocols/nats-protocol
type requests struct {
	from *bufio.Reader
	to   io.Writer
	out  []byte

	api       *rate.Limiter   // of requests to JetStream, apart from those for messages
	listening map[string]bool // ids of subscriptions to changes
	allowed   []string        // subjects that a client may publish to
}

func newRequests(from io.Reader, to io.Writer) *requests {
	return &requests{
		from: bufio.NewReaderSize(from, maxLine), to: to,
		api: rate.NewLimiter(apiRate, apiBurst), listening: map[string]bool{}, allowed: subscriberRequests(),
	}
}

// Limits of one connection. Each change is delivered to each subscription to it, and each request keeps the server from
// others, so without limits one subscriber could delay the changes for all.
const (
	maxListening = 16 // subscriptions to changes
	apiRate      = 20 // requests a second; further ones wait
	apiBurst     = 100
)

// A refused message that can't be answered is published to one of these subjects. subscriberPermissions do not allow them, and
// the error tells the client what is wrong.
const (
	refusedReply = "refused.the-reply-subject-must-begin-with._INBOX"
	refusedSize  = "refused.a-message-of-a-subscriber-has-at-most.8192.bytes" // maxRequest
	refusedInbox = "refused.subscribe-to-an-inbox-of-your-own-not-to-those-of-others"
	refusedMany  = "refused.a-connection-has-at-most.16.subscriptions-to-changes" // maxListening
)

func (r *requests) run() error {
	for {
		line, err := r.from.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // the server refuses it, too
			_, err = r.to.Write(append(slices.Clone(line), line...))
			return errors.Join(fmt.Errorf("%w: a line is too long", errProtocol), err)
		}
		if err != nil {
			return err
		}
		if err := r.line(string(bytes.TrimRight(line, "\r\n"))); err != nil {
			return err
		}
	}
}

func (r *requests) line(line string) error {
	op, rest := line, ""
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		op, rest = line[:i], line[i+1:]
	}
	op = strings.ToUpper(op)
	args := strings.Fields(rest)
	switch op {
	case "PUB", "HPUB":
		return r.publish(op, args)
	case "CONNECT": // JSON, which may have spaces in it
		return r.write(op, []string{rest}, nil)
	case "SUB":
		return r.write(op, r.subscription(args), nil)
	case "UNSUB":
		if len(args) == 1 { // at once, and not after some messages
			delete(r.listening, args[0])
		}
		return r.write(op, args, nil)
	case "PING", "PONG":
		return r.write(op, args, nil)
	case "":
		return nil
	}
	_ = r.write("UNKNOWN", nil, nil) // the server answers with its error and closes the connection
	return fmt.Errorf("%w: unknown operation %.20q", errProtocol, op)
}

// subscription returns the arguments of SUB, subject [queue] id, with another subject if they are not allowed: in the inboxes of
// others, a client would learn the names of their consumers.
func (r *requests) subscription(args []string) []string {
	if len(args) != 2 && len(args) != 3 {
		return args // the server refuses them
	}
	id := args[len(args)-1]
	if rest, ok := strings.CutPrefix(args[0], inbox); ok {
		if token, _, _ := strings.Cut(rest, "."); token == "*" || token == ">" {
			args[0] = refusedInbox
		}
		return args
	}
	if r.listening[id] = true; len(r.listening) > maxListening {
		delete(r.listening, id)
		args[0] = refusedMany
	}
	return args
}

// publish reads a message: PUB subject [reply] size, or HPUB subject [reply] size-of-headers size.
func (r *requests) publish(op string, args []string) error {
	sizes := 1
	if op == "HPUB" {
		sizes = 2
	}
	if n := len(args) - sizes; n != 1 && n != 2 {
		_ = r.write(op, args, nil) // the server answers with its error and closes the connection
		return fmt.Errorf("%w: a publish has a wrong number of arguments", errProtocol)
	}
	size, err := strconv.ParseUint(args[len(args)-1], 10, 31)
	if err != nil || size > maxPayload {
		_ = r.write("PUB", []string{"x", strconv.Itoa(2 * maxPayload)}, nil) // likewise: maximum payload violation
		return fmt.Errorf("%w: a message is too large", errProtocol)
	}
	subject, reply := args[0], ""
	if len(args)-sizes == 2 {
		reply = args[1]
	}
	if size > maxRequest {
		if _, err := r.from.Discard(int(size) + len("\r\n")); err != nil {
			return err
		}
		if canAnswer(reply) && asksForMessages(subject) {
			return r.answer(refuseMessage, reply)
		}
		if canAnswer(reply) {
			return r.answer(refuseLarge, reply)
		}
		return r.write("PUB", []string{refusedSize, "0"}, []byte{})
	}
	payload := make([]byte, size+2)
	if _, err := io.ReadFull(r.from, payload); err != nil {
		return err
	}
	if !bytes.HasSuffix(payload, []byte("\r\n")) {
		_ = r.write("UNKNOWN", nil, nil)
		return fmt.Errorf("%w: a message has another size than was said", errProtocol)
	}
	payload = payload[:size]
	if reply != "" && !strings.HasPrefix(reply, inbox) {
		return r.write("PUB", []string{refusedReply, "0"}, []byte{})
	}
	if to := r.answeredAt(subject); to != "" && canAnswer(reply) {
		return r.answer(to, reply)
	}
	if strings.HasPrefix(subject, "$JS.API.") && !strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT.") {
		if err := r.api.Wait(context.Background()); err != nil {
			return err
		}
	}
	if check := checkOf(subject); check != nil {
		headers := uint64(0)
		if op == "HPUB" {
			headers, err = strconv.ParseUint(args[len(args)-2], 10, 31)
			if err != nil || headers > size {
				_ = r.write("UNKNOWN", nil, nil)
				return fmt.Errorf("%w: a message has larger headers than was said", errProtocol)
			}
		}
		payload = append(payload[:headers:headers], check(payload[headers:])...)
		args[len(args)-1] = strconv.Itoa(len(payload))
	}
	return r.write(op, args, payload)
}

// maxReply is the longest reply subject of a request that this process answers, in bytes. A longer one might not fit into the
// line that replaces the request.
const maxReply = 1024

// canAnswer reports whether this process answers a request with this reply subject.
func canAnswer(reply string) bool {
	return strings.HasPrefix(reply, inbox) && len(reply) <= maxReply
}

// answeredAt returns the subject at which this process answers a request to subject, or "" if the NATS server answers it.
func (r *requests) answeredAt(subject string) string {
	consumer, ok := strings.CutPrefix(subject, "$JS.API.CONSUMER.DELETE."+string(Changes)+".")
	switch {
	case ok && consumer != "" && !strings.ContainsAny(consumer, ".*>"):
		return deletePrefix + consumer
	case slices.ContainsFunc(r.allowed, func(allowed string) bool { return server.SubjectMatchesFilter(subject, allowed) }):
		if strings.HasPrefix(subject, refusePrefix) || strings.HasPrefix(subject, deletePrefix) {
			return subject
		}
		return ""
	case asksForMessages(subject):
		return refuseMessage
	case strings.HasPrefix(subject, "$JS.API."):
		return refuseRequest
	}
	return refusePublish
}

// asksForMessages reports whether the answer to a request to subject is messages of a stream.
func asksForMessages(subject string) bool {
	return strings.HasPrefix(subject, "$JS.API.DIRECT.") || strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT.")
}

// answer has this process answer a request, of which it needs nothing but the reply subject.
func (r *requests) answer(subject, reply string) error {
	if err := r.api.Wait(context.Background()); err != nil {
		return err
	}
	return r.write("PUB", []string{subject, reply, "0"}, []byte{})
}

// checkOf returns what changes the body of a request before the server gets it, or nil.
func checkOf(subject string) func([]byte) []byte {
	switch {
	case subject == "$JS.API.STREAM.NAMES":
		return findMirror
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."), strings.HasPrefix(subject, "$JS.API.CONSUMER.DURABLE.CREATE."):
		return checkConsumer
	}
	return nil
}

// findMirror lets a client find the stream that has the changes by their subject. The server would not find the mirror,
// which has no subjects; asked for any stream, it names the only one that subscribers have.
func findMirror(payload []byte) []byte {
	var request struct {
		Subject string `json:"subject"`
	}
	if json.Unmarshal(payload, &request) == nil && strings.HasPrefix(request.Subject, strings.TrimSuffix(changesSubject, ">")) {
		return []byte("{}")
	}
	return payload
}

// idleConsumer is the longest time that a consumer without a durable name remains while no client uses it.
const idleConsumer = time.Minute

// checkConsumer returns the request for a consumer as the server may get it. It makes a consumer, or finds the very same one:
// subscribers share a credential, and none may change what another gets. A consumer that pushes anywhere but to an inbox
// pushes to a subject for which the server refuses it. One that may leave more unacknowledged, or have more requests waiting,
// than the server should keep in memory is given the limit, because client libraries ask for more by default. A body
// that is not such a request is replaced by one that the server refuses.
func checkConsumer(payload []byte) []byte {
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
	checked, err := json.Marshal(request)
	if err != nil {
		return []byte("{")
	}
	return checked
}

// write sends a line and, if it is not nil, a payload.
func (r *requests) write(op string, args []string, payload []byte) error {
	r.out = append(r.out[:0], op...)
	for _, arg := range args {
		r.out = append(append(r.out, ' '), arg...)
	}
	r.out = append(r.out, "\r\n"...)
	if payload != nil {
		r.out = append(append(r.out, payload...), "\r\n"...)
	}
	_, err := r.to.Write(r.out)
	return err
}
