package jetstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/jetstream"
)

const allChanges = "flavorless.change.>"

func change(t testing.TB, person string) events.Message {
	t.Helper()
	origin, err := events.Object{Bucket: "b", Key: "k", Sequencer: "0055", Time: time.UnixMilli(1)}.Origin()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := events.NewChange(person, "", "cookie dough", origin.At(0))
	return c.Message()
}

// subscriber connects as one from outside would, and collects what the server refuses.
func subscriber(t *testing.T, s *jetstream.Server) (conn *nats.Conn, refused func() int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	conn, err := nats.Connect("nats://"+s.Addr(), nats.UserInfo("subscriber", "secret"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, nats.ErrPermissionViolation) {
				n++
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestSubscriberReadsChanges(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	conn, _ := subscriber(t, s)
	plain, err := conn.SubscribeSync(allChanges)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	want := change(t, "Zoë")
	publish(t, s, jetstream.Changes, want)

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
	m, err := plain.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	check("plain subscription", m.Data, m.Header)

	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []natsjs.ConsumerConfig{
		{Durable: "mine", AckPolicy: natsjs.AckExplicitPolicy},
		{FilterSubject: "flavorless.change.v1.created", AckPolicy: natsjs.AckExplicitPolicy},
	} {
		consumer, err := js.CreateConsumer(t.Context(), "CHANGES", config)
		if err != nil {
			t.Fatal(err)
		}
		m, err := consumer.Next(natsjs.FetchMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		check("consumer", m.Data(), m.Headers())
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Errorf("acknowledging: %v", err)
		}
	}
	ordered, err := js.OrderedConsumer(t.Context(), "CHANGES", natsjs.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	next, err := ordered.Next(natsjs.FetchMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	check("ordered consumer", next.Data(), next.Headers())
}

func TestSubscriberCanDoNothingElse(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	publish(t, s, jetstream.Changes, change(t, "andy"))
	conn, refused := subscriber(t, s)

	want := 0
	for _, subject := range []string{
		"flavorless.change.v1.created", jetstream.UploadSubject, events.UpdatesType, "flavorless.dead.updates",
		"$JS.API.STREAM.DELETE.CHANGES", "$JS.API.STREAM.PURGE.CHANGES", "$JS.API.STREAM.MSG.DELETE.CHANGES",
		"$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.UPDATE.CHANGES", "$JS.API.CONSUMER.DELETE.CHANGES.mine",
		"$JS.API.STREAM.INFO.UPDATES", "$JS.API.CONSUMER.CREATE.UPDATES", "$JS.API.CONSUMER.MSG.NEXT.UPDATES.flavorless",
		"$JS.API.CONSUMER.PAUSE.CHANGES.mine", "$JS.ACK.UPDATES.flavorless.1.1.1.1.1", "$SYS.REQ.SERVER.PING", "anything",
	} {
		if err := conn.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		want++
		await(t, "publishing to "+subject+" is refused", func() bool { return refused() == want })
	}
	for _, subject := range []string{
		">", "flavorless.>", "flavorless.*", jetstream.UploadSubject, events.UpdatesType, "flavorless.dead.>",
		"_HOUSE.>", "$JS.>", "$SYS.>",
	} {
		if _, err := conn.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		want++
		await(t, "subscribing to "+subject+" is refused", func() bool { return refused() == want })
	}

	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for name := range js.StreamNames(t.Context()).Name() {
		if name != "CHANGES" {
			t.Errorf("it knows of stream %s", name)
		}
	}
	if got := refused(); got != want {
		t.Errorf("%d refused, want %d", got, want)
	}
}

// A consumer that pushes is delivered by the server itself, past the permissions of whoever created it. That must not
// reach a work queue.
func TestSubscriberCannotReachAQueueByPush(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	publish(t, s, jetstream.Changes, change(t, "andy"))
	conn, _ := subscriber(t, s)
	for _, subject := range []string{jetstream.UploadSubject, events.UpdatesType, "flavorless.change.v1.created", "$JS.API.STREAM.PURGE.CHANGES", "$JS.API.STREAM.DELETE.CHANGES"} {
		config := fmt.Sprintf(`{"stream_name":"CHANGES","config":{"deliver_subject":%q,"ack_policy":"none","deliver_policy":"all","headers_only":%t}}`,
			subject, strings.HasPrefix(subject, "$JS"))
		answer, err := conn.Request("$JS.API.CONSUMER.CREATE.CHANGES", []byte(config), patience)
		if err != nil {
			t.Fatal(err)
		}
		// The server refuses what would come back into the same stream. All else it lets pass: or else this test would
		// show nothing.
		if refused := bytes.Contains(answer.Data, []byte(`"error"`)); refused != strings.HasPrefix(subject, "flavorless.change.") {
			t.Errorf("pushing to %s: %s", subject, answer.Data)
		}
	}
	// Once a consumer that was made after them has delivered, those have, too.
	sub, err := conn.SubscribeSync("_INBOX.probe")
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Request("$JS.API.CONSUMER.CREATE.CHANGES",
		[]byte(`{"stream_name":"CHANGES","config":{"deliver_subject":"_INBOX.probe","ack_policy":"none","deliver_policy":"all"}}`), patience)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, s, jetstream.Changes, change(t, "bea"))
	for range 2 {
		if _, err := sub.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
	depths, err := s.Depths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[jetstream.Stream]jetstream.Depth{jetstream.Uploads: {}, jetstream.Updates: {}}, depths); diff != "" {
		t.Errorf("depths (-want +got):\n%s", diff)
	}
	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "CHANGES")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 2 {
		t.Errorf("CHANGES holds %d messages, want 2", n)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
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
