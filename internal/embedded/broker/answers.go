package broker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Subjects of requests that this process answers instead of the NATS server, in the account of subscribers.
//
// The NATS server does not answer a request that a client may not send. It reports an error on the connection, and
// client libraries wait for the answer until they time out. Therefore [requests] replaces such a request by one to
// these subjects. Only this process may subscribe to them.
const (
	refusePrefix  = "flavorless.refused."
	refusePublish = refusePrefix + "publish" // a message to any subject
	refuseRequest = refusePrefix + "request" // a request of JetStream's API
	refuseMessage = refusePrefix + "message" // a request for messages
	refuseLarge   = refusePrefix + "large"   // more than maxRequest bytes

	deletePrefix = "flavorless.delete." // and the name of a consumer
)

// Limits of requests that wait for this process. Further ones are dropped, and their clients time out.
const (
	maxUnanswered      = 10_000
	maxUnansweredBytes = 8 << 20
)

// Reasons for a refusal, as a subscriber reads them.
const (
	onlyChanges   = "subscribers may only read changes"
	onlyConsumers = "subscribers can get messages only from consumers of the stream " + string(Changes)
	noDurable     = "subscribers can't delete durable consumers"
)

// responder answers requests to the subjects above.
type responder struct {
	account account                  // of subscribers
	connect func() (net.Conn, error) // to the server, in process
	bind    func(context.Context) (context.Context, context.CancelFunc)
	log     *slog.Logger
}

// start answers requests until the connection of the account is closed.
func (r *responder) start() error {
	for subject, answer := range map[string]nats.MsgHandler{
		refusePublish: r.refuse, refuseRequest: r.refuse, refuseLarge: r.refuse,
		refuseMessage: r.refuseMessage, deletePrefix + "*": r.deleteConsumer,
	} {
		sub, err := r.account.conn.Subscribe(subject, answer)
		if err == nil {
			err = sub.SetPendingLimits(maxUnanswered, maxUnansweredBytes)
		}
		if err != nil {
			return fmt.Errorf("answering subscribers: %w", err)
		}
	}
	if err := r.account.conn.FlushTimeout(apiTimeout); err != nil {
		return fmt.Errorf("answering subscribers: %w", err)
	}
	return nil
}

// refuse answers with the reason why a request is not allowed.
func (r *responder) refuse(m *nats.Msg) {
	switch m.Subject {
	case refuseLarge:
		r.answerError(m, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("subscribers may send at most %d bytes per message", maxRequest))
	case refusePublish:
		r.answerError(m, http.StatusForbidden, onlyChanges+"; they can't publish to this subject")
	default:
		r.answerError(m, http.StatusForbidden, onlyChanges+"; they can use consumers of the stream "+
			string(Changes)+" and no other part of JetStream")
	}
}

// refuseMessage answers a request for messages with a status. A status is part of the first line of the headers, which
// the NATS client can't set, so the answer is written to a connection of its own.
func (r *responder) refuseMessage(m *nats.Msg) {
	if !canAnswer(m.Reply) {
		return
	}
	conn, err := r.connect()
	if err != nil {
		return // the server is being stopped
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(apiTimeout))
	login, err := json.Marshal(map[string]any{
		"user": r.account.user.Username, "pass": r.account.user.Password,
		"verbose": false, "pedantic": false, "headers": true,
	})
	if err != nil {
		r.log.Error("request of a subscriber not answered", "error", err)
		return
	}
	const status = "NATS/1.0 403 " + onlyConsumers + ", with small requests\r\n\r\n"
	answers := bufio.NewScanner(conn)
	answers.Scan() // the server's information about itself
	const format = "CONNECT %s\r\nHPUB %s %d %d\r\n%s\r\nPING\r\n"
	_, err = fmt.Fprintf(conn, format, login, m.Reply, len(status), len(status), status)
	for err == nil && answers.Scan() && answers.Text() != "PONG" {
		if text, failed := strings.CutPrefix(answers.Text(), "-ERR "); failed {
			err = errors.New(text)
		}
	}
	if err != nil {
		r.log.Warn("request of a subscriber not answered", "error", err)
	}
}

// deleteConsumer deletes the consumer that the request names, unless it is durable. Subscribers share a credential, so
// each can name any consumer. But the random name of one without a durable name is known only to the client that
// created it.
func (r *responder) deleteConsumer(m *nats.Msg) {
	ctx, cancel := r.bind(context.Background())
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, apiTimeout)
	defer stop()
	name := strings.TrimPrefix(m.Subject, deletePrefix)
	found, err := r.account.conn.RequestWithContext(ctx, "$JS.API.CONSUMER.INFO."+string(Changes)+"."+name, nil)
	var info server.JSApiConsumerInfoResponse
	if err == nil {
		err = json.Unmarshal(found.Data, &info)
	}
	if err != nil {
		r.log.WarnContext(ctx, "consumer of a subscriber not deleted", "consumer", name, "error", err)
		return
	}
	switch {
	case info.Error != nil: // there is no such consumer
		r.answer(m, &nats.Msg{Data: found.Data})
	case info.ConsumerInfo == nil || info.Config == nil || info.Config.Durable != "":
		r.answerError(m, http.StatusForbidden, noDurable)
	default:
		deleted, err := r.account.conn.RequestWithContext(ctx, "$JS.API.CONSUMER.DELETE."+string(Changes)+"."+name, nil)
		if err != nil {
			r.log.WarnContext(ctx, "consumer of a subscriber not deleted", "consumer", name, "error", err)
			return
		}
		r.answer(m, &nats.Msg{Data: deleted.Data})
	}
}

// refusedCode is the err_code of refusals. JetStream has none for missing permissions; this one stands for errors that
// only their description explains.
const refusedCode = uint16(server.JSStreamInvalidConfigF)

// answerError answers with an error of JetStream's API. Clients also accept it as the answer to a publish.
func (r *responder) answerError(m *nats.Msg, code int, description string) {
	body, err := json.Marshal(struct {
		Error server.ApiError `json:"error"`
	}{server.ApiError{Code: code, ErrCode: refusedCode, Description: description}})
	if err != nil {
		r.log.Error("request of a subscriber not answered", "error", err)
		return
	}
	r.answer(m, &nats.Msg{Data: body})
}

// answer publishes the answer to the request m, but only to an inbox: a request that did not pass [requests] can have
// any reply subject.
func (r *responder) answer(m, answer *nats.Msg) {
	if !canAnswer(m.Reply) {
		return
	}
	answer.Subject = m.Reply
	if err := r.account.conn.PublishMsg(answer); err != nil {
		r.log.Debug("request of a subscriber not answered", "error", err)
	}
}
