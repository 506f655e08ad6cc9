package control

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/operator"
)

// queues are the queues of the server.
type queues interface {
	Depths(ctx context.Context) (map[broker.Stream]queue.Depth, error)
	DeadLetters(ctx context.Context) iter.Seq2[queue.DeadLetter, error]
	Redrive(ctx context.Context, number uint64) error
}

// DeadQueue names the dead letters of a work queue.
type DeadQueue struct {
	Stream broker.Stream
	Name   string
	Alias  string // an earlier name that is still accepted; may be empty
}

// Handler serves [Path]. All fields are required.
type Handler struct {
	Queues     queues
	DeadQueues []DeadQueue // in the order in which they are listed
	Secret     string      // which clients send as a bearer token
	Log        *slog.Logger
}

// ServeHTTP implements [http.Handler].
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Browsers send Origin with every POST and with requests to other sites. A page whose name was changed in the DNS to
	// the address of this server (DNS rebinding) still has that name in the Host header.
	if _, page := r.Header["Origin"]; page || !IsLiteralHost(r.Host) {
		http.Error(w, "requests from web pages are refused: leave out Origin, and send an IP address or localhost as Host",
			http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
		return
	}
	if !h.authorized(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "send the control secret, which is in server.json in the data folder, as a bearer token",
			http.StatusUnauthorized)
		return
	}
	// Redriving many messages takes longer than the server's limit for answers.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	answer, err := h.answer(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		h.Log.WarnContext(r.Context(), "sending the answer to an operator failed", "error", err)
	}
}

func (h Handler) answer(r *http.Request) (any, error) {
	if r.Method == http.MethodGet {
		return h.list(r.Context())
	}
	query := r.URL.Query()
	if id := query.Get("id"); id != "" {
		return h.redriveOne(r.Context(), id)
	}
	return h.redriveQueue(r.Context(), query.Get("queue"))
}

// authorized reports whether a request has the control secret as a bearer token (RFC 6750, section 2.1).
func (h Handler) authorized(r *http.Request) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(secret), []byte(h.Secret)) == 1
}

// IsLiteralHost reports whether a Host header is localhost or an IP address, with or without a port.
func IsLiteralHost(host string) bool {
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil || strings.EqualFold(u.Hostname(), "localhost")
}

func (h Handler) list(ctx context.Context) ([]operator.DeadQueue, error) {
	depths, err := h.Queues.Depths(ctx)
	if err != nil {
		return nil, err
	}
	dead := make([]operator.DeadQueue, len(h.DeadQueues))
	byStream := map[broker.Stream]*operator.DeadQueue{}
	left := 0 // messages to list
	for i, q := range h.DeadQueues {
		dead[i] = operator.DeadQueue{
			Queue: q.Name, Alias: q.Alias, Waiting: int64(depths[q.Stream].Dead), Letters: []operator.DeadLetter{},
		}
		byStream[q.Stream] = &dead[i]
		left += int(min(dead[i].Waiting, maxLetters))
	}
	if left == 0 {
		return dead, nil
	}
	for d, err := range h.Queues.DeadLetters(ctx) {
		if err != nil {
			return nil, err
		}
		if q := byStream[d.Queue]; q != nil && len(q.Letters) < maxLetters {
			q.Letters = append(q.Letters, operator.DeadLetter{
				ID: d.Number, Tries: d.Tries, Sent: d.Last, Subject: Subject(d), Reason: d.Reason,
			})
			if left--; left == 0 {
				break
			}
		}
	}
	return dead, nil
}

// Subject returns what a dead letter is about: the key of an object, a person, an upload, or else the number of the
// message.
func Subject(d queue.DeadLetter) string {
	if d.Subject == events.ContinuationType {
		if c, err := events.DecodeContinuation(d.Body); err == nil {
			return fmt.Sprintf("%s from byte %d on", c.Object.Key, c.Offset)
		}
	}
	if d.Queue == broker.Uploads {
		var o events.Object
		if json.Unmarshal(d.Body, &o) == nil && o.Key != "" {
			return o.Key
		}
	}
	if person := d.Attributes["person"]; person != "" {
		return "change of " + person
	}
	if upload := d.Attributes["upload"]; upload != "" {
		return "upload " + upload
	}
	return fmt.Sprintf("message %d", d.Number)
}

func (h Handler) redriveQueue(ctx context.Context, name string) (operator.RedriveResult, error) {
	r := operator.RedriveResult{Queue: name, Failures: []string{}}
	var stream broker.Stream
	for _, q := range h.DeadQueues {
		if name != "" && (name == q.Name || name == q.Alias) {
			stream = q.Stream
		}
	}
	if stream == "" {
		return r, fmt.Errorf("there is no dead-letter queue %q", name)
	}
	for d, err := range h.Queues.DeadLetters(ctx) {
		if err == nil && d.Queue != stream {
			continue
		}
		if err == nil {
			err = h.Queues.Redrive(ctx, d.Number)
		}
		switch {
		case err == nil:
			r.Restored++
		case !errors.Is(err, events.ErrNotFound): // not found: another operator has redriven it
			r.Failures = append(r.Failures, err.Error())
			h.Log.WarnContext(ctx, "redriving a dead letter failed",
				"upload", d.Attributes["upload"], "queue", name, "error", err)
		}
		if len(r.Failures) == maxLetters {
			break
		}
	}
	return r, ctx.Err()
}

func (h Handler) redriveOne(ctx context.Context, id string) (operator.RedriveResult, error) {
	r := operator.RedriveResult{Queue: id, Failures: []string{}}
	number, err := strconv.ParseUint(id, 10, 64)
	if err == nil {
		err = h.Queues.Redrive(ctx, number)
	}
	switch {
	case err == nil:
		r.Restored = 1
	case errors.Is(err, events.ErrNotFound), errors.Is(err, strconv.ErrSyntax), errors.Is(err, strconv.ErrRange):
		r.Failures = append(r.Failures, "there is no such dead letter; it may have been redriven already")
	default:
		r.Failures = append(r.Failures, err.Error())
	}
	return r, ctx.Err()
}
