package broker_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/testutil"
)

const allChanges = "flavorless.change.>"

// TestSubscriberReadsChanges checks that a subscriber gets changes by a plain subscription and by consumers, with the
// documented body and headers.
func TestSubscriberReadsChanges(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	conn, _ := s.Subscriber(t)
	plain, err := conn.SubscribeSync(allChanges)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	want := brokertest.Change(t, "Zoë")
	s.Publish(t, broker.Changes, want)

	check := func(how string, body []byte, header nats.Header) {
		t.Helper()
		if diff := cmp.Diff(string(want.Body), string(body)); diff != "" {
			t.Errorf("%s: body (-want +got):\n%s", how, diff)
		}
		wantHeader := nats.Header{"ce-id": {want.ID}, "content-type": {"application/cloudevents+json"}}
		for name, value := range want.Attributes {
			wantHeader[name] = []string{value}
		}
		if diff := cmp.Diff(wantHeader, header); diff != "" {
			t.Errorf("%s: headers (-want +got):\n%s", how, diff)
		}
	}
	m, err := plain.NextMsg(brokertest.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	check("plain subscription", m.Data, m.Header)

	js := brokertest.JetStream(t, conn)
	for _, config := range []jetstream.ConsumerConfig{
		{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy},
		{FilterSubject: "flavorless.change.v1.created", AckPolicy: jetstream.AckExplicitPolicy},
	} {
		consumer, err := js.CreateConsumer(t.Context(), "CHANGES", config)
		if err != nil {
			t.Fatal(err)
		}
		m, err := consumer.Next(jetstream.FetchMaxWait(brokertest.Timeout))
		if err != nil {
			t.Fatal(err)
		}
		check("consumer", m.Data(), m.Headers())
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Errorf("acknowledging: %v", err)
		}
	}
	ordered, err := js.OrderedConsumer(t.Context(), "CHANGES", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	next, err := ordered.Next(jetstream.FetchMaxWait(brokertest.Timeout))
	if err != nil {
		t.Fatal(err)
	}
	check("ordered consumer", next.Data(), next.Headers())
}

// TestSubscriberCanDoNothingElse checks that a subscriber can neither publish or subscribe to anything else, nor find
// another stream.
func TestSubscriberCanDoNothingElse(t *testing.T) {
	t.Parallel()
	s := brokertest.Start(t, t.TempDir())
	s.Publish(t, broker.Changes, brokertest.Change(t, "andy"))
	conn, refused := s.Subscriber(t)

	want := 0
	for _, subject := range []string{
		"flavorless.change.v1.created", broker.UploadSubject, events.UpdatesType, "flavorless.dead.updates",
		"$JS.API.STREAM.DELETE.CHANGES", "$JS.API.STREAM.PURGE.CHANGES", "$JS.API.STREAM.MSG.DELETE.CHANGES",
		"$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.UPDATE.CHANGES", "$JS.API.CONSUMER.DELETE.CHANGES.mine",
		"$JS.API.STREAM.INFO.UPDATES", "$JS.API.CONSUMER.CREATE.UPDATES", "$JS.API.CONSUMER.MSG.NEXT.UPDATES.flavorless",
		"$JS.API.CONSUMER.PAUSE.CHANGES.mine", "_LOG.API.CONSUMER.CREATE.CHANGES", "_LOG.DELIVER.M.x",
		"$JS.ACK.UPDATES.flavorless.1.1.1.1.1", "$SYS.REQ.SERVER.PING", "anything",
	} {
		if err := conn.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		want++
		testutil.WaitFor(t, "publishing to "+subject+" is refused", func() bool { return refused() == want })
	}
	for _, subject := range []string{
		">", "flavorless.>", "flavorless.*", broker.UploadSubject, events.UpdatesType, "flavorless.dead.>",
		"_LOG.>", "_R_.>", "$JS.>", "$SYS.>",
	} {
		if _, err := conn.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		want++
		testutil.WaitFor(t, "subscribing to "+subject+" is refused", func() bool { return refused() == want })
	}

	js := brokertest.JetStream(t, conn)
	for name := range js.StreamNames(t.Context()).Name() {
		if name != "CHANGES" {
			t.Errorf("the subscriber finds stream %s, want only CHANGES", name)
		}
	}
	if got := refused(); got != want {
		t.Errorf("%d requests refused, want %d", got, want)
	}
}

// attacks returns messages by which a client asks the server to send an answer, a delivery or a status to the target.
// Each has a subject, a reply subject, and a body.
func attacks(t *testing.T, target string) [][3]string {
	t.Helper()
	create := func(name, config string) [3]string {
		return [3]string{"$JS.API.CONSUMER.CREATE.CHANGES." + name, "_INBOX.a",
			`{"stream_name":"CHANGES","config":{"name":"` + name + `",` + config + `}}`}
	}
	durable := func(name, config string) [3]string {
		return [3]string{"$JS.API.CONSUMER.DURABLE.CREATE.CHANGES." + name, "_INBOX.a",
			`{"stream_name":"CHANGES","config":{"durable_name":"` + name + `",` + config + `}}`}
	}
	next := "$JS.API.CONSUMER.MSG.NEXT.CHANGES.pull"
	return [][3]string{
		{"$JS.API.INFO", target, ""},
		{"$JS.API.STREAM.INFO.CHANGES", target, ""},
		{"$JS.API.STREAM.NAMES", target, ""},
		{"$JS.API.CONSUMER.CREATE.CHANGES", target, "not JSON"},
		create("pull", `"ack_policy":"explicit","deliver_policy":"all"`),
		{"$JS.API.CONSUMER.INFO.CHANGES.pull", target, ""},
		{next, target, `{"batch":1,"no_wait":true}`},
		{next, target, `{"batch":0,"expires":-1}`},
		{next, target, `{"batch":5,"expires":1000000000,"idle_heartbeat":100000000}`},
		{next, target, `{"batch":1,"expires":1000000}`},
		{"$JS.ACK.CHANGES.pull.1.1.1.1.1", target, "+NXT"},
		{"$JS.FC.CHANGES.pull.x", target, ""},
		create("push", `"ack_policy":"none","deliver_policy":"all","deliver_subject":"`+target+`"`),
		create("twice",
			`"ack_policy":"none","deliver_policy":"all","deliver_subject":"_INBOX.a","deliver_subject":"`+target+`"`),
		create("case", `"ack_policy":"none","deliver_policy":"all","DELIVER_SUBJECT":"`+target+`"`),
		create("beat",
			`"ack_policy":"none","deliver_policy":"new","headers_only":true,"idle_heartbeat":100000000,`+
				`"deliver_subject":"`+target+`"`),
		durable("kept",
			`"ack_policy":"none","deliver_policy":"all","flow_control":true,"idle_heartbeat":100000000,`+
				`"deliver_subject":"`+target+`"`),
	}
}

// TestSubscriberCannotForge checks that a subscriber can't make the server store or delete a message, fill a queue, or
// send other subscribers a change that was not announced, whatever subject it asks the server to send to. Without the
// check of requests, too, the accounts alone protect the queues, the log and its mirror.
func TestSubscriberCannotForge(t *testing.T) {
	t.Parallel()
	for name, inside := range map[string]bool{"with the check of requests": false, "without it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := brokertest.Start(t, dir, func(c *broker.Config) { c.Webhooks = []string{"x"} })
			s.Publish(t, broker.Changes, brokertest.Change(t, "andy"), brokertest.Change(t, "bea"))
			conn, _ := s.Subscriber(t)
			if inside {
				var err error
				if conn, err = s.ConnectInside("subscriber", "secret"); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(conn.Close)
			}
			other, _ := s.Subscriber(t)
			heard, err := other.SubscribeSync(allChanges)
			if err == nil {
				err = other.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range []string{
				"flavorless.change.v1.created", "flavorless.change.x", broker.UploadSubject, events.UpdatesType,
				"flavorless.webhook.x", "flavorless.dead.updates",
				"$JS.API.STREAM.DELETE.CHANGES", "$JS.API.STREAM.PURGE.CHANGES", "$JS.API.CONSUMER.DELETE.CHANGES.webhook-x",
				"_LOG.API.CONSUMER.CREATE.CHANGES", "_LOG.DELIVER.M.x", "$JS.ACK.CHANGES.webhook-x.1.1.1.1.1", "$JS.FC.CHANGES.x",
			} {
				for _, a := range attacks(t, target) {
					if err := conn.PublishRequest(a[0], a[1], []byte(a[2])); err != nil {
						t.Fatal(err)
					}
				}
			}
			// The server answers in order. A heartbeat takes longer; one change is published after it.
			if _, err := conn.Request("$JS.API.STREAM.INFO.CHANGES", nil, brokertest.Timeout); err != nil {
				t.Fatal(err)
			}
			beats, err := conn.SubscribeSync("_INBOX.beats")
			if err == nil {
				err = conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.CHANGES.pull", "_INBOX.beats",
					[]byte(`{"batch":100,"expires":600000000,"idle_heartbeat":200000000}`))
			}
			if err != nil {
				t.Fatal(err)
			}
			for m := new(nats.Msg); m.Header.Get("Status") != "408"; {
				if m, err = beats.NextMsg(brokertest.Timeout); err != nil {
					t.Fatal(err)
				}
			}
			s.Publish(t, broker.Changes, brokertest.Change(t, "last"))

			m, err := heard.NextMsg(brokertest.Timeout)
			for inside && err == nil && m.Header.Get("person") != "last" { // the check of requests prevents this
				m, err = heard.NextMsg(brokertest.Timeout)
			}
			if err != nil || m.Header.Get("person") != "last" {
				t.Errorf("another subscriber gets %v %q (%v), want the announced change", m.Header, m.Data, err)
			}
			check := func(s *brokertest.Server) {
				t.Helper()
				log, mirror, err := s.LastSequences(t.Context())
				for ; err == nil && mirror < log; log, mirror, err = s.LastSequences(t.Context()) {
					time.Sleep(time.Millisecond)
				}
				if log != 3 || mirror != 3 || err != nil {
					t.Errorf("last sequence of the log %d, of its mirror %d, %v; want 3", log, mirror, err)
				}
				depths, err := s.Depths(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want := map[broker.Stream]queue.Depth{broker.Uploads: {}, broker.Updates: {}, broker.Webhook("x"): {}}
				if diff := cmp.Diff(want, depths); diff != "" {
					t.Errorf("depths (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"1 andy", "2 bea", "3 last"}, s.ReadLog(t,
					events.Start{Since: time.Now().Add(-time.Hour)}, 3, nil)); diff != "" {
					t.Errorf("the log (-want +got):\n%s", diff)
				}
			}
			check(s)
			s.Stop()
			check(brokertest.Start(t, dir, func(c *broker.Config) { c.Webhooks = []string{"x"} }))
		})
	}
}
