package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// closeTimeout limits how long the last acknowledgements may take to reach the server.
	closeTimeout = 5 * time.Second

	// apiTimeout limits how long the server may take to answer a request about streams and consumers. It runs in this
	// process, so it is slow only if the machine is, and giving up early would not help.
	apiTimeout = 2 * time.Minute

	// startTimeout limits how long the server may take to recover its streams. That takes milliseconds, except after a
	// crash, when it may have to rebuild the index from the messages.
	startTimeout = 2 * time.Minute
)

// instance is a running NATS server with open streams, and the connections of this process to it. A start may need
// several instances, one after the other.
type instance struct {
	nats        *server.Server
	internal    account
	subscribers account
	others      []*nats.Conn // to the internal account
	log         *slog.Logger
}

// account is an account of the server with a connection of this process.
type account struct {
	name    string
	user    *server.User
	conn    *nats.Conn
	streams jetstream.JetStream
}

// openInstance starts a server on the data folder and opens its streams. While it does, a snapshot keeps what the
// server may delete.
func openInstance(ctx context.Context, c Config, log *serverLog) (*instance, error) {
	opts, internal, mirror, err := c.options()
	if err != nil {
		return nil, err
	}
	stored, err := storedStreams(c.Dir)
	if err != nil {
		return nil, err
	}
	if err := takeSnapshot(c.Dir); err != nil {
		return nil, err
	}
	in := &instance{
		internal:    account{name: internalAccount, user: internal},
		subscribers: account{name: subscriberAccount, user: mirror},
		log:         c.Logger,
	}
	if in.nats, err = server.NewServer(opts); err != nil {
		return nil, err
	}
	if err := in.start(log); err != nil {
		in.close()
		return nil, err
	}
	if err := in.openStreams(ctx, c, stored, log); err != nil {
		in.close()
		return nil, err
	}
	if err := removeSnapshot(c.Dir); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *instance) start(log *serverLog) error {
	in.nats.SetLoggerV2(log, false, false, false)
	in.nats.Start()
	if fatal := log.fatalError(); fatal != nil {
		return fatal
	}
	if !in.nats.ReadyForConnections(startTimeout) {
		return errors.New("it did not become ready in time")
	}
	for _, a := range []*account{&in.internal, &in.subscribers} {
		registered, err := in.nats.LookupAccount(a.name)
		if err == nil {
			err = registered.EnableJetStream(accountLimits(), nil)
		}
		if err != nil {
			return fmt.Errorf("opening the streams of account %s: %w", a.name, err)
		}
		if a.conn, err = in.connect(a.user, a.name); err != nil {
			return err
		}
		if a.streams, err = jetstream.New(a.conn, jetstream.WithDefaultTimeout(apiTimeout)); err != nil {
			return err
		}
	}
	return nil
}

// openStreams creates the streams, or updates the stored ones to the configuration. Stored are the names of the streams
// that existed before the server was started, by account.
func (in *instance) openStreams(ctx context.Context, c Config, stored map[string][]string, log *serverLog) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, a := range []account{in.internal, in.subscribers} {
		if err := checkRecovered(ctx, a.streams, streamsDir(c.Dir, a.name), stored[a.name], log); err != nil {
			return err
		}
	}
	for _, config := range c.streams() {
		if err := openStream(ctx, in.internal.streams, config, in.log); err != nil {
			return err
		}
	}
	mirror := c.mirror()
	if err := keepInactiveThreshold(ctx, in.subscribers.streams, &mirror); err != nil {
		return err
	}
	return openStream(ctx, in.subscribers.streams, mirror, in.log)
}

func (in *instance) connect(user *server.User, name string) (*nats.Conn, error) {
	conn, err := nats.Connect("",
		nats.InProcessServer(in.nats),
		nats.Name(name),
		nats.Timeout(apiTimeout),
		nats.UserInfo(user.Username, user.Password),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			in.log.Warn("NATS connection failed", "name", name, "error", err)
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("connecting in process: %w", err)
	}
	return conn, nil
}

func (in *instance) addConnection(name string) (*nats.Conn, error) {
	conn, err := in.connect(in.internal.user, name)
	if err == nil {
		in.others = append(in.others, conn)
	}
	return conn, err
}

// close ends the server after everything is written.
func (in *instance) close() {
	conns := append([]*nats.Conn{in.internal.conn, in.subscribers.conn}, in.others...)
	for _, conn := range conns {
		if conn != nil {
			_ = conn.FlushTimeout(closeTimeout) // messages whose acknowledgements are lost are delivered again
		}
	}
	for _, conn := range conns {
		if conn != nil {
			conn.Close()
		}
	}
	in.nats.Shutdown()
	in.nats.WaitForShutdown()
}
