package broker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Subjects of requests that this process answers instead of the NATS server, in the account of subscribers.
//
// The NATS server does not answer a request that a client may not send. It reports an error on the connection, and client
// libraries wait for the answer until they time out. [requests] therefore replaces such a request by one to these subjects.
// Nobody but this process may subscribe to them.
const (
	refusePrefix  = "flavorless.refused."
	refusePublish = refusePrefix + "publish" // a message to any subject
	refuseRequest = refusePrefix + "request" // a request of JetStream's API
	refuseMessage = refusePrefix + "message" // a request for messages
	refuseLarge   = refusePrefix + "large"   // more than maxRequest bytes

	deletePrefix = "flavorless.delete." // and the name of a consumer
)

// Limits of requests that wait for this process. When as many wait, further ones are dropped, and their clients time out.
const (
	maxUnanswered      = 10_000
	maxUnansweredBytes = 8 << 20
)

// answerSubscribers answers these requests until the connection is closed.
func (s *Server) answerSubscribers() error {
	for subject, answer := range map[string]nats.MsgHandler{
		refusePublish: s.refuse, refuseRequest: s.refuse, refuseLarge: s.refuse,
		refuseMessage: s.refuseMessage, deletePrefix + "*": s.deleteConsumer,
	} {
		sub, err := s.mirror.Subscribe(subject, answer)
		if err == nil {
			err = sub.SetPendingLimits(maxUnanswered, maxUnansweredBytes)
		}
		if err != nil {
			return fmt.Errorf("answering subscribers: %w", err)
		}
	}
	if err := s.mirror.FlushTimeout(apiTimeout); err != nil {
		return fmt.Errorf("answering subscribers: %w", err)
	}
	return nil
}

// refuse answers that the request is not allowed.
func (s *Server) refuse(m *nats.Msg) {
	switch m.Subject {
	case refuseLarge:
		s.answerError(m, http.StatusRequestEntityTooLarge, fmt.Sprintf("messages of subscribers have at most %d bytes", maxRequest))
	case refusePublish:
		s.answerError(m, http.StatusForbidden, "subscribers may read changes and nothing else; they can't publish to this subject")
	default:
		s.answerError(m, http.StatusForbidden,
			"subscribers may read changes and nothing else; of JetStream they can use consumers of the stream "+string(Changes))
	}
}

// refuseMessage answers with a status instead of messages. A status is in the first line of the headers, which the NATS client
// can't set, so the answer is published by a short connection of its own.
func (s *Server) refuseMessage(m *nats.Msg) {
	if !canAnswer(m.Reply) {
		return
	}
	conn, err := s.nats.InProcessConn()
	if err != nil {
		return // the server is being stopped
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(apiTimeout))
	login, err := json.Marshal(map[string]any{
		"user": s.mirrorUser.Username, "pass": s.mirrorUser.Password, "verbose": false, "pedantic": false, "headers": true,
	})
	if err != nil {
		s.log.Error("a subscriber's request can't be answered", "error", err)
		return
	}
	const status = "NATS/1.0 403 subscribers get messages by consumers of the stream " + string(Changes) + " only, with small requests\r\n\r\n"
	answers := bufio.NewScanner(conn)
	answers.Scan() // the server's information about itself
	_, err = fmt.Fprintf(conn, "CONNECT %s\r\nHPUB %s %d %d\r\n%s\r\nPING\r\n", login, m.Reply, len(status), len(status), status)
	for err == nil && answers.Scan() && answers.Text() != "PONG" {
		if text, failed := strings.CutPrefix(answers.Text(), "-ERR "); failed {
			err = errors.New(text)
		}
	}
	if err != nil {
		s.log.Warn("a subscriber's request can't be answered", "error", err)
	}
}

// deleteConsumer deletes the consumer that the request names, unless it is durable. Subscribers share a credential, so any of
// them can ask for any name. But only the client that created a consumer without a durable name knows its random name.
func (s *Server) deleteConsumer(m *nats.Msg) {
	ctx, cancel := s.Bind(context.Background())
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, apiTimeout)
	defer stop()
	name := strings.TrimPrefix(m.Subject, deletePrefix)
	found, err := s.mirror.RequestWithContext(ctx, "$JS.API.CONSUMER.INFO."+string(Changes)+"."+name, nil)
	var info server.JSApiConsumerInfoResponse
	if err == nil {
		err = json.Unmarshal(found.Data, &info)
	}
	if err != nil {
		s.log.WarnContext(ctx, "a subscriber's consumer can't be deleted", "consumer", name, "error", err)
		return
	}
	switch {
	case info.Error != nil: // there is no such consumer
		s.answer(m, &nats.Msg{Data: found.Data})
	case info.ConsumerInfo == nil || info.Config == nil || info.Config.Durable != "":
		s.answerError(m, http.StatusForbidden, "subscribers can't delete durable consumers")
	default:
		deleted, err := s.mirror.RequestWithContext(ctx, "$JS.API.CONSUMER.DELETE."+string(Changes)+"."+name, nil)
		if err != nil {
			s.log.WarnContext(ctx, "a subscriber's consumer can't be deleted", "consumer", name, "error", err)
			return
		}
		s.answer(m, &nats.Msg{Data: deleted.Data})
	}
}

// refusedCode is the err_code of refusals. JetStream has none for missing permissions. This one is of errors that only their
// description explains.
const refusedCode = uint16(server.JSStreamInvalidConfigF)

// answerError answers with an error of JetStream's API, which clients also understand as the answer to a publish.
func (s *Server) answerError(m *nats.Msg, code int, description string) {
	body, err := json.Marshal(struct {
		Error server.ApiError `json:"error"`
	}{server.ApiError{Code: code, ErrCode: refusedCode, Description: description}})
	if err != nil {
		s.log.Error("a subscriber's request can't be answered", "error", err)
		return
	}
	s.answer(m, &nats.Msg{Data: body})
}

// answer publishes the answer to the request m. A request that did not pass [requests] can have any reply subject, and is
// answered only at an inbox.
func (s *Server) answer(m, answer *nats.Msg) {
	if !canAnswer(m.Reply) {
		return
	}
	answer.Subject = m.Reply
	if err := s.mirror.PublishMsg(answer); err != nil {
		s.log.Debug("a subscriber's request can't be answered", "error", err)
	}
}
