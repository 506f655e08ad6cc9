package broker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/embedded/broker"
	"github.com/flavorless/flavorless/internal/embedded/brokertest"
	"github.com/flavorless/flavorless/internal/embedded/queue"
	"github.com/flavorless/flavorless/internal/testutil"
)

// earlierRelease creates a data folder like a release did that had CHANGES in the account of subscribers.
func earlierRelease(
	t *testing.T, dir string, fill func(ctx context.Context, js jetstream.JetStream, log jetstream.Stream),
) {
	t.Helper()
	account := server.NewAccount("SUBSCRIBERS")
	s, err := server.NewServer(&server.Options{
		DontListen: true, NoSigs: true, JetStream: true, StoreDir: dir,
		Accounts: []*server.Account{account}, Users: []*server.User{{Username: "u", Password: "p", Account: account}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	registered, err := s.LookupAccount("SUBSCRIBERS")
	if err == nil {
		err = registered.EnableJetStream(nil, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.UserInfo("u", "p"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js := brokertest.JetStream(t, conn)
	log, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "CHANGES", Subjects: []string{"flavorless.change.>"}, DenyDelete: true, DenyPurge: true, AllowDirect: true,
		MaxConsumers: 1024, MaxAge: 7 * 24 * time.Hour,
		ConsumerLimits: jetstream.StreamConsumerLimits{InactiveThreshold: 7 * 24 * time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	fill(t.Context(), js, log)
}

// takeOne reads the next message of a consumer and acknowledges it.
func takeOne(t *testing.T, c jetstream.Consumer) (person string) {
	t.Helper()
	m, err := c.Next(jetstream.FetchMaxWait(brokertest.Timeout))
	if err == nil {
		err = m.DoubleAck(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Headers().Get("person")
}

// TestFolderOfAReleaseWithoutAMirror checks that such a folder is migrated, also if the process dies meanwhile: the log
// keeps its sequence numbers, webhooks and subscribers continue at their positions, and messages that a hostile
// subscriber had caused are skipped.
func TestFolderOfAReleaseWithoutAMirror(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(t *testing.T, dir string){
		"not interrupted": func(*testing.T, string) {},
		"interrupted before the move": func(t *testing.T, dir string) {
			rename(t, dir, "SUBSCRIBERS/streams/CHANGES/obs/mine", "../consumers/mine")
		},
		"interrupted before the mirror": func(t *testing.T, dir string) { moveAll(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			earlierRelease(t, dir, func(ctx context.Context, js jetstream.JetStream, log jetstream.Stream) {
				send := func(m events.Message) {
					header := nats.Header{"ce-id": {m.ID}, "content-type": {"application/cloudevents+json"}}
					for name, value := range m.Attributes {
						header.Set(name, value)
					}
					if _, err := js.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Header: header, Data: m.Body}); err != nil {
						t.Fatal(err)
					}
				}
				consumer := func(config jetstream.ConsumerConfig) jetstream.Consumer {
					c, err := log.CreateConsumer(ctx, config)
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				webhook := consumer(jetstream.ConsumerConfig{
					Durable: "webhook-x", DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckAllPolicy,
					MaxAckPending: 256, AckWait: 10 * time.Second,
				})
				mine := consumer(jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy})
				var many []string
				for i := range 1000 {
					many = append(many, fmt.Sprint("flavorless.change.x.", i))
				}
				consumer(jetstream.ConsumerConfig{Durable: "huge", FilterSubjects: many})
				send(brokertest.Change(t, "andy"))
				send(brokertest.Change(t, "bea"))
				if got := takeOne(t, webhook) + takeOne(t, mine); got != "andyandy" {
					t.Fatalf("consumed %s, want andyandy", got)
				}
				// A status, an answer of the server, and an old change with another subject.
				for _, m := range []*nats.Msg{
					{Subject: "flavorless.change.v1.removed", Header: nats.Header{"Status": {"408"},
						"Description": {"Request Timeout"}}},
					{Subject: "flavorless.change.v1.created",
						Data: []byte(`{"type":"io.nats.jetstream.api.v1.account_info_response"}`)},
				} {
					if _, err := js.PublishMsg(ctx, m); err != nil {
						t.Fatal(err)
					}
				}
				replay := brokertest.Change(t, "andy")
				replay.Subject = "flavorless.change.v1.removed"
				send(replay)
				send(brokertest.Change(t, "cleo"))
			})
			cut(t, dir)

			for range 2 { // also after another start
				s := brokertest.Start(t, dir, func(c *broker.Config) { c.Webhooks = []string{"x"} })
				if diff := cmp.Diff([]string{"1 andy", "2 bea", "6 cleo"}, s.ReadLog(t,
					events.Start{Since: time.Now().Add(-time.Hour)}, 3, nil)); diff != "" {
					t.Errorf("the log (-want +got):\n%s", diff)
				}
				s.Stop()
			}
			s := brokertest.Start(t, dir, func(c *broker.Config) { c.Webhooks = []string{"x"} })
			ctx, stop := context.WithCancel(t.Context())
			var forwarding sync.WaitGroup
			forwarding.Go(func() { s.Forward(ctx, "x", func(error) {}) })
			defer forwarding.Wait()
			defer stop()
			left := map[string]bool{brokertest.Change(t, "bea").ID: true, brokertest.Change(t, "cleo").ID: true}
			config := queue.Config{Stream: broker.Webhook("x"), MaxMessages: 1}
			s.ConsumeUntil(t, config, func(group []queue.Delivery) ([]error, bool) {
				if !left[group[0].ID] {
					t.Errorf("webhook gets %s %q, want only %v", group[0].ID, group[0].Body, left)
				}
				delete(left, group[0].ID)
				return nil, len(left) == 0
			})
			conn, _ := s.Subscriber(t)
			js := brokertest.JetStream(t, conn)
			mine, err := js.Consumer(t.Context(), "CHANGES", "mine")
			if err != nil {
				t.Fatal(err)
			}
			if got := takeOne(t, mine); got != "bea" {
				t.Errorf("subscriber continues with %q, want bea", got)
			}
			stream, err := js.Stream(t.Context(), "CHANGES")
			if err != nil {
				t.Fatal(err)
			}
			if info := stream.CachedInfo(); info.State.LastSeq != 6 || info.State.Consumers != 1 {
				t.Errorf("mirror: last sequence number %d, %d consumers; want 6 and 1", info.State.LastSeq, info.State.Consumers)
			}
		})
	}
}

func rename(t *testing.T, dir, from, to string) {
	t.Helper()
	from, to = filepath.Join(dir, "jetstream", from), filepath.Join(dir, "jetstream", to)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// moveAll does what a start does before it creates the mirror.
func moveAll(t *testing.T, dir string) {
	t.Helper()
	rename(t, dir, "SUBSCRIBERS/streams/CHANGES/obs/mine", "../consumers/mine")
	if err := os.RemoveAll(filepath.Join(dir, "jetstream/SUBSCRIBERS/streams/CHANGES/obs/huge")); err != nil {
		t.Fatal(err)
	}
	rename(t, dir, "SUBSCRIBERS/streams/CHANGES", "FLAVORLESS/streams/CHANGES")
}

// TestMirrorAhead loses more of the log than of its mirror, as a power failure may. Later changes get the sequence
// numbers of the lost ones, and must still reach subscribers, who keep their consumers.
func TestMirrorAhead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := brokertest.Start(t, dir)
	s.Announce(t, "andy", "bea")
	conn, _ := s.Subscriber(t)
	js := brokertest.JetStream(t, conn)
	mine, err := js.CreateConsumer(t.Context(), "CHANGES", jetstream.ConsumerConfig{Durable: "mine",
		AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	takeOne(t, mine)
	conn.Close()
	s.Stop()
	log := filepath.Join(dir, "jetstream", "FLAVORLESS", "streams", "CHANGES")
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(log)); err != nil {
		t.Fatal(err)
	}
	s = brokertest.Start(t, dir)
	s.Announce(t, "lost", "lost too")
	testutil.WaitFor(t, "a complete mirror", func() bool {
		_, mirrored, err := s.LastSequences(t.Context())
		return err == nil && mirrored == 4
	})
	s.Stop()
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(log, os.DirFS(before)); err != nil {
		t.Fatal(err)
	}
	remove(t, broker.ManifestFile(dir))

	s = brokertest.Start(t, dir)
	s.Announce(t, "cleo", "dan")
	conn, _ = s.Subscriber(t)
	js = brokertest.JetStream(t, conn)
	if mine, err = js.Consumer(t.Context(), "CHANGES", "mine"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		got = append(got, takeOne(t, mine))
	}
	if diff := cmp.Diff([]string{"bea", "cleo", "dan"}, got); diff != "" {
		t.Errorf("changes of the subscriber (-want +got):\n%s", diff)
	}
}

// TestMirrorMatches checks that a mirror matches the log even if one of them has dropped old messages a little earlier,
// but not if the mirror has a gap that the log does not have.
func TestMirrorMatches(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := broker.Config{ChangesAge: time.Hour, ChangesBytes: 1000}
	log := jetstream.StreamState{FirstSeq: 3, LastSeq: 9, Msgs: 7, Bytes: 100, FirstTime: now.Add(-time.Minute)}
	old, large := log, log
	old.FirstTime, large.Bytes = now.Add(-time.Hour), 950
	holed := log
	holed.NumDeleted = 1
	for name, test := range map[string]struct {
		log, mirror jetstream.StreamState
		want        bool
	}{
		"the same":               {log, log, true},
		"new":                    {log, jetstream.StreamState{}, true},
		"behind":                 {log, jetstream.StreamState{FirstSeq: 3, LastSeq: 5}, true},
		"ahead":                  {log, jetstream.StreamState{FirstSeq: 3, LastSeq: 10}, false},
		"without the first":      {log, jetstream.StreamState{FirstSeq: 4, LastSeq: 9}, false},
		"first one lost":         {log, jetstream.StreamState{FirstSeq: 10, LastSeq: 9}, false},
		"with a gap":             {log, jetstream.StreamState{FirstSeq: 3, LastSeq: 9, NumDeleted: 1}, false},
		"with the log's own gap": {holed, holed, true},
		"dropped by age":         {old, jetstream.StreamState{FirstSeq: 4, LastSeq: 9}, true},
		"dropped by size":        {large, jetstream.StreamState{FirstSeq: 4, LastSeq: 9}, true},
	} {
		if got := broker.Matches(c, test.log, test.mirror, now); got != test.want {
			t.Errorf("%s: Matches = %t, want %t", name, got, test.want)
		}
	}
}
