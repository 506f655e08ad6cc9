package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/testutil"
)

// legacy returns the older API of JetStream, which waits for answers as long as the test does.
func legacy(t *testing.T, conn *nats.Conn) nats.JetStreamContext {
	t.Helper()
	js, err := conn.JetStream(nats.MaxWait(brokertest.Timeout))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// TestRefusedRequests checks that each call of a client library that subscribers may not make fails with an error that
// says why. The calls wait for an answer as long as the test does.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Changes, brokertest.Change(t, "andy"))
	conn, refused := s.Subscriber(t)
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	old := legacy(t, conn)
	js := brokertest.JetStream(t, conn)
	changes, err := js.Stream(ctx, "CHANGES")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateConsumer(ctx, "CHANGES", jetstream.ConsumerConfig{Durable: "mine"}); err != nil {
		t.Fatal(err)
	}
	const only, messages, durable = broker.OnlyChanges, broker.OnlyConsumers, broker.NoDurable
	for name, test := range map[string]struct {
		call func() error
		want string
	}{
		"publish": {func() error { return second(js.Publish(ctx, "flavorless.change.v1.created", []byte("{}"))) }, only},
		"publish with headers": {func() error {
			m := &nats.Msg{Subject: "x", Header: nats.Header{"a": {"b"}}, Data: []byte("{}")}
			return second(js.PublishMsg(ctx, m, jetstream.WithMsgID("x")))
		}, only},
		"publish to a queue": {func() error { return second(old.Publish(broker.UploadSubject, nil)) }, only},
		"publish much": {func() error {
			return second(js.Publish(ctx, "x", make([]byte, 100<<10)))
		}, "at most 8192 bytes"},
		"create a stream": {func() error { return second(js.CreateStream(ctx, jetstream.StreamConfig{Name: "X"})) }, only},
		"create it, old":  {func() error { return second(old.AddStream(&nats.StreamConfig{Name: "X"})) }, only},
		"create a large one": {func() error {
			return second(old.AddStream(&nats.StreamConfig{Name: "X", Description: strings.Repeat("x", 9<<10)}))
		}, ""},
		"update a stream": {func() error {
			return second(js.UpdateStream(ctx, jetstream.StreamConfig{Name: "CHANGES"}))
		}, only},
		"delete a stream":  {func() error { return js.DeleteStream(ctx, "CHANGES") }, only},
		"purge a stream":   {func() error { return changes.Purge(ctx) }, only},
		"another stream":   {func() error { return second(js.Stream(ctx, "UPDATES")) }, only},
		"delete a message": {func() error { return changes.DeleteMsg(ctx, 1) }, only},
		"get a message":    {func() error { return second(changes.GetMsg(ctx, 1)) }, messages},
		"get it, old":      {func() error { return second(old.GetMsg("CHANGES", 1, nats.Context(ctx))) }, only},
		"get it directly": {func() error {
			return second(old.GetMsg("CHANGES", 1, nats.DirectGet(), nats.Context(ctx)))
		}, messages},
		"get the last": {func() error {
			return second(old.GetLastMsg("CHANGES", allChanges, nats.DirectGet(), nats.Context(ctx)))
		}, messages},
		"durable consumer":    {func() error { return js.DeleteConsumer(ctx, "CHANGES", "mine") }, durable},
		"no consumer":         {func() error { return js.DeleteConsumer(ctx, "CHANGES", "nobody") }, "consumer not found"},
		"consumer of a queue": {func() error { return js.DeleteConsumer(ctx, "UPDATES", "flavorless") }, only},
		"pause a consumer": {func() error {
			return second(js.PauseConsumer(ctx, "CHANGES", "mine", time.Now().Add(time.Hour)))
		}, only},
		"key-value bucket": {func() error { return second(js.KeyValue(ctx, "x")) }, only},
		"create such a bucket": {func() error {
			return second(js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "x"}))
		}, only},
		"object store": {func() error {
			return second(js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "x"}))
		}, only},
		"list streams": {func() error {
			lister := js.ListStreams(ctx)
			for range lister.Info() {
			}
			return lister.Err()
		}, only},
		"list consumers": {func() error {
			lister := changes.ConsumerNames(ctx)
			for range lister.Name() {
			}
			return lister.Err()
		}, only},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.call(); err == nil || errors.Is(err, ctx.Err()) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that contains %q", err, test.want)
			}
		})
	}
	if got := refused(); got != 0 {
		t.Errorf("%d errors besides the answers, want 0", got)
	}
}

// second returns the error of a call with two results.
func second(_ any, err error) error { return err }

// TestRefusedRequestsForMessages checks that a refused request for messages is answered with a status in the first line
// of the headers. Without it, some client libraries would treat the answer as a message.
func TestRefusedRequestsForMessages(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Changes, brokertest.Change(t, "andy"))
	large := strings.Repeat("x", 9<<10)
	for _, request := range []string{
		`PUB $JS.API.DIRECT.GET.CHANGES _INBOX.a 9` + "\r\n" + `{"seq":1}` + "\r\n",
		"PUB $JS.API.DIRECT.GET.CHANGES.flavorless.change.v1.created _INBOX.a 0\r\n\r\n",
		"PUB $JS.API.CONSUMER.MSG.NEXT.UPDATES.flavorless _INBOX.a 1\r\n1\r\n",
		fmt.Sprintf("PUB $JS.API.CONSUMER.MSG.NEXT.CHANGES.mine _INBOX.a %d\r\n%s\r\n", len(large), large),
	} {
		c, r := dial(t, s.Addr())
		fmt.Fprint(c, hello+"SUB _INBOX.a 1\r\n"+request)
		answer(t, r, "HMSG _INBOX.a 1 ")
		if line, err := r.ReadString('\n'); !strings.HasPrefix(line, "NATS/1.0 403 ") {
			t.Errorf("%.60q is answered %q, %v; want the status 403", request, line, err)
		}
	}
}

// TestDeleteConsumers checks that subscribers can delete consumers without a durable name, but no durable ones.
func TestDeleteConsumers(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Changes, brokertest.Change(t, "andy"))
	conn, _ := s.Subscriber(t)
	js := brokertest.JetStream(t, conn)
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Timeout)
	defer cancel()
	durable, err := js.CreateConsumer(ctx, "CHANGES", jetstream.ConsumerConfig{Durable: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 300 { // more than may exist at the same time
		client, _ := s.Subscriber(t)
		var err error
		if n%2 == 0 {
			err = subscribeAndLeave(legacy(t, client))
		} else {
			err = createAndDelete(ctx, client)
		}
		if err != nil {
			t.Fatalf("consumer %d: %v", n, err)
		}
		client.Close()
	}
	if err := js.DeleteConsumer(ctx, "CHANGES", "mine"); err == nil {
		t.Error("DeleteConsumer of a durable consumer = nil, want an error")
	}
	if _, err := durable.Info(ctx); err != nil {
		t.Errorf("Info of the durable consumer: %v", err)
	}
	if log, mirror, err := s.LastSequences(ctx); log != 1 || mirror != 1 || err != nil {
		t.Errorf("last sequence of the log %d, of its mirror %d, %v; want 1", log, mirror, err)
	}
}

func subscribeAndLeave(js nats.JetStreamContext) error {
	push, err := js.SubscribeSync(allChanges)
	if err != nil {
		return err
	}
	return push.Unsubscribe()
}

func createAndDelete(ctx context.Context, client *nats.Conn) error {
	js, err := jetstream.New(client)
	if err != nil {
		return err
	}
	pull, err := js.CreateConsumer(ctx, "CHANGES", jetstream.ConsumerConfig{})
	if err != nil {
		return err
	}
	return js.DeleteConsumer(ctx, "CHANGES", pull.CachedInfo().Name)
}

// TestIdleConsumers checks that the server limits how long an idle consumer exists.
func TestIdleConsumers(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	conn, _ := s.Subscriber(t)
	js := brokertest.JetStream(t, conn)
	for _, test := range []struct {
		config jetstream.ConsumerConfig
		want   time.Duration
	}{
		{jetstream.ConsumerConfig{}, time.Minute},
		{jetstream.ConsumerConfig{Name: "named"}, time.Minute},
		{jetstream.ConsumerConfig{InactiveThreshold: 5 * time.Minute}, time.Minute},
		{jetstream.ConsumerConfig{InactiveThreshold: 10 * time.Second}, 10 * time.Second},
		{jetstream.ConsumerConfig{Durable: "mine"}, 7 * 24 * time.Hour},
		{jetstream.ConsumerConfig{Durable: "hour", InactiveThreshold: time.Hour}, time.Hour},
	} {
		consumer, err := js.CreateConsumer(t.Context(), "CHANGES", test.config)
		if err != nil {
			t.Fatal(err)
		}
		if got := consumer.CachedInfo().Config.InactiveThreshold; got != test.want {
			t.Errorf("consumer %q, durable %q, requested %s: InactiveThreshold = %s, want %s",
				test.config.Name, test.config.Durable, test.config.InactiveThreshold, got, test.want)
		}
	}
}

// TestAnsweredSubjects checks that subscribers can't subscribe to the requests that this process answers, and get no
// other data by sending such requests themselves, with any reply subject.
func TestAnsweredSubjects(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	conn, refused := s.Subscriber(t)
	for n, subject := range []string{"flavorless.refused.>", "flavorless.refused.publish", "flavorless.delete.*"} {
		if _, err := conn.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		testutil.WaitFor(t, "subscribing to "+subject+" is refused", func() bool { return refused() == n+1 })
	}
	inside, err := s.ConnectInside("subscriber", "secret")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inside.Close)
	received, err := conn.SubscribeSync(allChanges)
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{
		"flavorless.refused.publish", "flavorless.refused.request", "flavorless.refused.message", "flavorless.refused.large",
		"flavorless.delete.x",
	} {
		if err := inside.PublishRequest(subject, "flavorless.change.v1.created", []byte("body")); err != nil {
			t.Fatal(err)
		}
		answer, err := conn.Request(subject, []byte("body"), brokertest.Timeout) // answered after the request above
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(answer.Header, string(answer.Data)); strings.Contains(got, "body") {
			t.Errorf("answer to %s contains the request: %s", subject, got)
		}
		if _, err := inside.Request(subject, nil, brokertest.Timeout); err != nil {
			t.Fatal(err)
		}
	}
	s.Publish(t, broker.Changes, brokertest.Change(t, "last"))
	if m, err := received.NextMsg(brokertest.Timeout); err != nil || m.Header.Get("person") != "last" {
		t.Errorf("subscriber gets %v (%v), want the change", m, err)
	}
}
