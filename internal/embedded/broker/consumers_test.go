package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/testutil"
)

// TestPushToAnInbox checks that push consumers can deliver to an inbox, and to no other subject.
func TestPushToAnInbox(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Changes, brokertest.Change(t, "andy"))
	conn, _ := s.Subscriber(t)
	legacy, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string][]nats.SubOpt{
		"ordered": {nats.OrderedConsumer()}, "ephemeral": nil, "durable": {nats.Durable("mine")},
	} {
		sub, err := legacy.SubscribeSync(allChanges, options...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m, err := sub.NextMsg(brokertest.Timeout); err != nil || m.Header.Get("person") != "andy" {
			t.Errorf("%s consumer: got %v, %v, want the change of andy", name, m, err)
		}
	}
	for _, subject := range []string{"flavorless.change.v1.created", "$JS.API.STREAM.DELETE.CHANGES",
		"_LOG.API.CONSUMER.CREATE.CHANGES", "_INBOXES.x", "_INBOX"} {
		const push = `{"stream_name":"CHANGES","config":{"deliver_subject":%q,"ack_policy":"none","deliver_policy":"all"}}`
		config := fmt.Sprintf(push, subject)
		answer, err := conn.Request("$JS.API.CONSUMER.CREATE.CHANGES", []byte(config), brokertest.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(answer.Data, []byte("invalid push consumer deliver subject")) {
			t.Errorf("creating a consumer that delivers to %s: %s, want an error", subject, answer.Data)
		}
	}
}

// TestRequestsAreSmall checks that a subscriber can't create a consumer with thousands of filters, which would keep the
// server busy for seconds, and again at each start.
func TestRequestsAreSmall(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	conn, refused := s.Subscriber(t)
	if err := conn.Publish("$JS.API.CONSUMER.CREATE.CHANGES", make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	testutil.WaitFor(t, "a large request is refused", func() bool { return refused() == 1 })
	if _, err := conn.Request("$JS.API.STREAM.INFO.CHANGES", nil, brokertest.Timeout); err != nil {
		t.Errorf("next request: %v, want nil", err)
	}
}

// TestSubscribersTakeNoPlaceOfOthers checks that readers over HTTP and webhooks still work when subscribers have
// created as many consumers as they may.
func TestSubscribersTakeNoPlaceOfOthers(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	s.Publish(t, broker.Changes, brokertest.Change(t, "andy"))
	conn, _ := s.Subscriber(t)
	js := brokertest.JetStream(t, conn)
	if _, err := js.CreateConsumer(t.Context(), "CHANGES", jetstream.ConsumerConfig{}); err != nil {
		t.Fatal(err)
	}
	unbounded, err := js.CreateConsumer(t.Context(), "CHANGES",
		jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1, MaxWaiting: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if c := unbounded.CachedInfo().Config; c.MaxAckPending != 10_000 || c.MaxWaiting != 512 {
		t.Errorf("consumer with MaxAckPending %d and MaxWaiting %d, want 10000 and 512", c.MaxAckPending, c.MaxWaiting)
	}
	for n := 2; ; n++ {
		_, err := js.CreateConsumer(t.Context(), "CHANGES", jetstream.ConsumerConfig{Durable: fmt.Sprint("d", n)})
		if err != nil {
			if n != 256 {
				t.Errorf("creating consumer %d: %v, want an error at 256", n, err)
			}
			break
		}
	}
	s.ReadLog(t, events.Start{Since: time.Now().Add(-time.Hour)}, 1, nil)
	s.Stop()
	brokertest.Start(t, dir, func(c *broker.Config) { c.Webhooks = []string{"x"} })
}

// TestSubscribersDoNotDisturbOneAnother checks that no subscriber can change the consumer of another one, although all
// share a credential, or subscribe to its inbox, or get each change a thousand times.
func TestSubscribersDoNotDisturbOneAnother(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Changes, brokertest.Change(t, "andy"))
	conn, refused := s.Subscriber(t)
	js := brokertest.JetStream(t, conn)
	config := jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy}
	for range 2 { // the second time it exists
		if _, err := js.CreateOrUpdateConsumer(t.Context(), "CHANGES", config); err != nil {
			t.Fatal(err)
		}
	}
	config.FilterSubject = "flavorless.change.nothing"
	if _, err := js.CreateOrUpdateConsumer(t.Context(), "CHANGES", config); !errors.Is(err, jetstream.ErrConsumerExists) {
		t.Errorf("CreateOrUpdateConsumer with another filter = %v, want %v", err, jetstream.ErrConsumerExists)
	}
	if _, err := js.UpdateConsumer(t.Context(), "CHANGES", config); err == nil {
		t.Error("UpdateConsumer = nil, want an error")
	}
	for n, subject := range []string{"_INBOX.>", "_INBOX.*", "_INBOX.*.x"} {
		if _, err := conn.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		testutil.WaitFor(t, "subscribing to "+subject+" is refused", func() bool { return refused() == n+1 })
	}
	before := refused()
	for range 17 {
		if _, err := conn.SubscribeSync(allChanges); err != nil {
			t.Fatal(err)
		}
	}
	testutil.WaitFor(t, "the 17th subscription is refused", func() bool { return refused() == before+1 })
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	for name, option := range map[string]nats.Option{
		"nobody":         nats.Name("nobody"),
		"wrong password": nats.UserInfo("subscriber", "wrong"),
		"empty":          nats.UserInfo("", ""),
	} {
		if conn, err := nats.Connect("nats://"+s.Addr(), option, nats.NoReconnect()); !errors.Is(err, nats.ErrAuthorization) {
			conn.Close()
			t.Errorf("%s: got %v, want %v", name, err, nats.ErrAuthorization)
		}
	}
}
