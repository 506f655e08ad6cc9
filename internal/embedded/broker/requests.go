package broker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/time/rate"
)

// maxLine is the longest line of the protocol, in bytes, as for the server.
const maxLine = server.MAX_CONTROL_LINE_SIZE

// requests reads the requests of a client, checks them, and writes them to the server. It writes what it has parsed in
// one canonical form, so that the server can't parse a request differently. It replaces a message that is not allowed
// by one that the server refuses: the client then gets the error in order, and in a form that its library knows.
// https://docs.nats.io/reference/reference-protocols/nats-protocol
type requests struct {
	from *bufio.Reader
	to   io.Writer
	out  []byte

	api       *rate.Limiter   // of requests to JetStream, except those for messages
	listening map[string]bool // ids of subscriptions to changes
	allowed   []string        // subjects that a client may publish to
}

func newRequests(from io.Reader, to io.Writer) *requests {
	return &requests{
		from: bufio.NewReaderSize(from, maxLine), to: to,
		api: rate.NewLimiter(apiRate, apiBurst), listening: map[string]bool{}, allowed: subscriberRequests(),
	}
}

// Limits of one connection. The server delivers each change to each subscription, and handles one request after the
// other, so that without limits one subscriber could delay the changes for all.
const (
	maxListening = 16 // subscriptions to changes
	apiRate      = 20 // requests per second; further ones wait
	apiBurst     = 100
)

// A message that is refused and can't be answered is published to one of these subjects. subscriberPermissions does not
// allow them, so the client gets an error that contains the subject.
const (
	refusedReply = "refused.the-reply-subject-must-begin-with._INBOX"
	refusedSize  = "refused.a-message-of-a-subscriber-has-at-most.8192.bytes" // maxRequest
	refusedInbox = "refused.subscribe-to-an-inbox-of-your-own-not-to-those-of-others"
	refusedMany  = "refused.a-connection-has-at-most.16.subscriptions-to-changes" // maxListening
)

func (r *requests) run() error {
	for {
		line, err := r.from.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) { // longer than the server allows
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
	case "CONNECT": // its argument is JSON, which may contain spaces
		return r.write(op, []string{rest}, nil)
	case "SUB":
		return r.write(op, r.subscription(args), nil)
	case "UNSUB":
		if len(args) == 1 { // without a number of messages after which it ends
			delete(r.listening, args[0])
		}
		return r.write(op, args, nil)
	case "PING", "PONG":
		return r.write(op, args, nil)
	case "":
		return nil
	}
	_ = r.write("UNKNOWN", nil, nil) // the server reports the error and closes the connection
	return fmt.Errorf("%w: unknown operation %.20q", errProtocol, op)
}

// subscription returns the arguments of SUB: subject [queue] id. It replaces a subject that is not allowed. In the
// inboxes of others, a client would learn the names of their consumers.
func (r *requests) subscription(args []string) []string {
	if len(args) != 2 && len(args) != 3 {
		return args // the server reports the error
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

// publish reads a message and passes it on: PUB subject [reply] size, or HPUB subject [reply] size-of-headers size.
func (r *requests) publish(op string, args []string) error {
	sizes := 1
	if op == "HPUB" {
		sizes = 2
	}
	if n := len(args) - sizes; n != 1 && n != 2 {
		_ = r.write(op, args, nil) // the server reports the error and closes the connection
		return fmt.Errorf("%w: a publish has a wrong number of arguments", errProtocol)
	}
	size, err := strconv.ParseUint(args[len(args)-1], 10, 31)
	if err != nil || size > maxPayload {
		_ = r.write("PUB", []string{"x", strconv.Itoa(2 * maxPayload)}, nil) // the error is "maximum payload violation"
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
		return fmt.Errorf("%w: the size of a message is wrong", errProtocol)
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
	if rewrite := rewriteOf(subject); rewrite != nil {
		headers := uint64(0)
		if op == "HPUB" {
			headers, err = strconv.ParseUint(args[len(args)-2], 10, 31)
			if err != nil || headers > size {
				_ = r.write("UNKNOWN", nil, nil)
				return fmt.Errorf("%w: the size of the headers of a message is wrong", errProtocol)
			}
		}
		payload = append(payload[:headers:headers], rewrite(payload[headers:])...)
		args[len(args)-1] = strconv.Itoa(len(payload))
	}
	return r.write(op, args, payload)
}

// maxReply is the longest reply subject of a request that this process answers, in bytes. A longer one might make the
// line that replaces the request too long.
const maxReply = 1024

// canAnswer reports whether this process answers a request with this reply subject.
func canAnswer(reply string) bool {
	return strings.HasPrefix(reply, inbox) && len(reply) <= maxReply
}

// answeredAt returns the subject at which this process answers a request to subject, or "" if the NATS server answers
// it.
func (r *requests) answeredAt(subject string) string {
	matches := func(allowed string) bool { return server.SubjectMatchesFilter(subject, allowed) }
	consumer, ok := strings.CutPrefix(subject, "$JS.API.CONSUMER.DELETE."+string(Changes)+".")
	switch {
	case ok && consumer != "" && !strings.ContainsAny(consumer, ".*>"):
		return deletePrefix + consumer
	case slices.ContainsFunc(r.allowed, matches):
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

// answer passes a request on to this process, which needs only its reply subject.
func (r *requests) answer(subject, reply string) error {
	if err := r.api.Wait(context.Background()); err != nil {
		return err
	}
	return r.write("PUB", []string{subject, reply, "0"}, []byte{})
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
