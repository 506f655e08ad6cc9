package local

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/queue"
)

// DeadLettersPath lists the dead letters (GET) and puts back those of a queue (POST, ?queue=) or a single one (POST, ?id=). It is
// served at the API's address, but is not part of the API: requests need Info.Control as a bearer token, and the Host header
// must be an IP address or localhost.
const DeadLettersPath = "/_control/dead-letters"

// DeadQueue is what waits of one queue.
type DeadQueue struct {
	Queue   string       `json:"queue"`
	Alias   string       `json:"alias,omitempty"` // another name, which begins as in logs and metrics
	Waiting int64        `json:"waiting"`
	Letters []DeadLetter `json:"letters"` // the oldest
}

// DeadLetter says of one message what it was and why it is dead.
type DeadLetter struct {
	ID      uint64    `json:"id"`
	Sent    time.Time `json:"sent"` // when it was given up
	Tries   int       `json:"tries"`
	Subject string    `json:"subject"`
	Reason  string    `json:"reason"`
}

// Redriven is what became of the dead letters of a queue.
type Redriven struct {
	Queue    string   `json:"queue"`
	Restored int64    `json:"restored"`
	Failures []string `json:"failures"` // of letters that stay
}

// mostLetters is how many letters of a queue are shown.
const mostLetters = 100

// alias returns the other name of the dead letters of a webhook, without the path of its URL. It was their only name once.
func (c consumer) alias() string {
	if alias := c.queue + "-dead"; alias != c.dead {
		return alias
	}
	return ""
}

func (s *Server) serveDeadLetters(w http.ResponseWriter, r *http.Request) {
	// Browsers send Origin with every POST and with requests to other sites. A page whose name was changed in the DNS to the
	// address of this server (DNS rebinding) still has that name in the Host header.
	if _, page := r.Header["Origin"]; page || !isLiteralHost(r.Host) {
		http.Error(w, "requests from web pages are refused: leave out Origin, and send an IP address or localhost as Host", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
		return
	}
	if !s.authorized(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "send the control secret, which is in "+infoFile+" in the data folder, as a bearer token", http.StatusUnauthorized)
		return
	}
	// Many letters take their time; the server's limit is for readers.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	var answer any
	var err error
	switch r.Method {
	case http.MethodGet:
		answer, err = s.deadLetters(r.Context())
	case http.MethodPost:
		query := r.URL.Query()
		if id := query.Get("id"); id != "" {
			answer, err = s.redriveOne(r.Context(), id)
		} else {
			answer, err = s.redrive(r.Context(), query.Get("queue"))
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.cfg.Log.WarnContext(r.Context(), "dead letters not shown", "error", err)
	}
}

// authorized reports whether a request has the control secret as a bearer token (RFC 6750, section 2.1).
func (s *Server) authorized(r *http.Request) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(secret), []byte(s.control)) == 1
}

// isLiteralHost reports whether a Host header is localhost or an IP address, with or without a port.
func isLiteralHost(host string) bool {
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil || strings.EqualFold(u.Hostname(), "localhost")
}

func (s *Server) deadLetters(ctx context.Context) ([]DeadQueue, error) {
	depths, err := s.streams.Depths(ctx)
	if err != nil {
		return nil, err
	}
	consumers := s.consumers()
	queues := make([]DeadQueue, len(consumers))
	places := map[broker.Stream]*DeadQueue{}
	left := 0 // to be shown
	for i, c := range consumers {
		queues[i] = DeadQueue{Queue: c.dead, Alias: c.alias(), Waiting: int64(depths[c.stream].Dead), Letters: []DeadLetter{}}
		places[c.stream] = &queues[i]
		left += int(min(queues[i].Waiting, mostLetters))
	}
	if left == 0 {
		return queues, nil
	}
	for d, err := range s.streams.DeadLetters(ctx) {
		if err != nil {
			return nil, err
		}
		if q := places[d.Queue]; q != nil && len(q.Letters) < mostLetters {
			q.Letters = append(q.Letters, DeadLetter{ID: d.Number, Sent: d.Last, Tries: d.Tries, Subject: subject(d), Reason: d.Reason})
			if left--; left == 0 {
				break
			}
		}
	}
	return queues, nil
}

// subject says what a dead letter is about.
func subject(d queue.DeadLetter) string {
	if d.Subject == events.ContinuationType {
		if span, err := events.DecodeContinuation(d.Body); err == nil {
			return fmt.Sprintf("%s from byte %d on", span.Object.Key, span.Offset)
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

func (s *Server) redrive(ctx context.Context, queue string) (Redriven, error) {
	r := Redriven{Queue: queue, Failures: []string{}}
	var stream broker.Stream
	for _, c := range s.consumers() {
		if queue == c.dead || queue != "" && queue == c.alias() {
			stream = c.stream
		}
	}
	if stream == "" {
		return r, fmt.Errorf("there is no dead-letter queue %q", queue)
	}
	for d, err := range s.streams.DeadLetters(ctx) {
		if err == nil && d.Queue != stream {
			continue
		}
		if err == nil {
			err = s.streams.Redrive(ctx, d.Number)
		}
		switch {
		case err == nil:
			r.Restored++
		case !errors.Is(err, events.ErrNotFound): // not found: somebody else was faster
			r.Failures = append(r.Failures, err.Error())
			s.cfg.Log.WarnContext(ctx, "not put back", "upload", d.Attributes["upload"], "queue", queue, "error", err)
		}
		if len(r.Failures) == mostLetters {
			break
		}
	}
	return r, ctx.Err()
}

// redriveOne puts one dead letter back.
func (s *Server) redriveOne(ctx context.Context, id string) (Redriven, error) {
	r := Redriven{Queue: id, Failures: []string{}}
	number, err := strconv.ParseUint(id, 10, 64)
	if err == nil {
		err = s.streams.Redrive(ctx, number)
	}
	switch {
	case err == nil:
		r.Restored = 1
	case errors.Is(err, events.ErrNotFound), errors.Is(err, strconv.ErrSyntax), errors.Is(err, strconv.ErrRange):
		r.Failures = append(r.Failures, "there is no such dead letter (any more)")
	default:
		r.Failures = append(r.Failures, err.Error())
	}
	return r, ctx.Err()
}
