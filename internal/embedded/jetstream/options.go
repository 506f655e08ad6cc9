package jetstream

import (
	"crypto/rand"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Accounts of the server. Subjects of one are unknown in the other.
const (
	houseAccount      = "FLAVORLESS"  // UPLOADS, UPDATES, DEAD
	subscriberAccount = "SUBSCRIBERS" // CHANGES
)

// Limits of the server, chosen so that no client can take the house's memory.
const (
	maxPayload       = 1 << 20  // bytes of body and headers of a message on the wire
	maxHeadroom      = 16 << 10 // bytes of it kept for the headers that a dead letter adds
	maxSubscriptions = 1024     // per connection
	maxPending       = 8 << 20  // bytes waiting for one slow connection; beyond, it is closed
	writeDeadline    = 5 * time.Second
	maxConsumers     = 1024     // of CHANGES
	maxServerBuffer  = 64 << 20 // bytes published to one stream and not stored yet
)

// MaxMessage is the greatest size of a message, in bytes of body, subject, id and attributes.
const MaxMessage = maxPayload - maxHeadroom

// Credential is a user name and password.
type Credential struct{ User, Password string }

// credentials are those that the server knows: two of the house itself, one for each account, and, if wanted, one of
// subscribers.
type credentials struct{ house, changes Credential }

func newCredentials(house Credential) credentials {
	c := credentials{house: house, changes: Credential{"changes-" + rand.Text(), rand.Text()}}
	if c.house.User == "" {
		c.house = Credential{"house-" + rand.Text(), rand.Text()}
	}
	return c
}

// subscriberPermissions let a client read CHANGES, directly or by a consumer, and nothing else.
// https://docs.nats.io/reference/reference-protocols/nats_api_reference
func subscriberPermissions() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$JS.API.INFO",
			"$JS.API.STREAM.INFO.CHANGES",
			"$JS.API.STREAM.NAMES", // clients look for the stream of a subject
			"$JS.API.CONSUMER.CREATE.CHANGES",
			"$JS.API.CONSUMER.CREATE.CHANGES.>",
			"$JS.API.CONSUMER.DURABLE.CREATE.CHANGES.*",
			"$JS.API.CONSUMER.INFO.CHANGES.*",
			"$JS.API.CONSUMER.MSG.NEXT.CHANGES.*",
			"$JS.ACK.CHANGES.>",
			"$JS.FC.CHANGES.>",
		}},
		// _INBOX is where clients await answers. Other subscribers' answers pass there as well: changes, which they may
		// read anyway. The house's own connections use another prefix.
		Subscribe: &server.SubjectPermission{Allow: []string{changesSubject, "_INBOX.>"}},
	}
}

// accountLimits bounds what a consumer may leave unacknowledged, which the server keeps in memory. (As a limit of the
// stream it would forbid consumers that don't acknowledge at all.)
func accountLimits() map[string]server.JetStreamAccountLimits {
	return map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
		MaxAckPending: maxOutstanding,
	}}
}

func (c Config) options(users credentials) (*server.Options, error) {
	house, subscribers := server.NewAccount(houseAccount), server.NewAccount(subscriberAccount)
	o := &server.Options{
		ServerName: "flavorless",
		DontListen: c.Addr == "",
		NoSigs:     true,
		Accounts:   []*server.Account{house, subscribers},
		Users: []*server.User{
			{Username: users.house.User, Password: users.house.Password, Account: house},
			{Username: users.changes.User, Password: users.changes.Password, Account: subscribers},
		},
		MaxPayload:    maxPayload,
		MaxConn:       c.MaxConnections,
		MaxSubs:       maxSubscriptions,
		MaxPending:    maxPending,
		WriteDeadline: writeDeadline,
		// A subscriber without a consumer that can't keep up misses messages; it must not slow the publisher.
		NoFastProducerStall:    true,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               c.Dir,
		SyncInterval:           c.SyncInterval,
		SyncAlways:             c.SyncAlways,
		JetStreamMaxMemory:     1 << 20, // file store only
		JetStreamMaxStore:      c.MaxStore,
		StreamMaxBufferedSize:  maxServerBuffer,
	}
	if c.Subscriber.User != "" {
		o.Users = append(o.Users, &server.User{
			Username: c.Subscriber.User, Password: c.Subscriber.Password,
			Account: subscribers, Permissions: subscriberPermissions(),
		})
	}
	if o.DontListen {
		return o, nil
	}
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("reading the address of the NATS server: %w", err)
	}
	if o.Port, err = strconv.Atoi(port); err != nil || o.Port < 0 || o.Port > 65535 {
		return nil, fmt.Errorf("reading the address of the NATS server: %q is not a port", port)
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if o.Host = host; host == "" {
		o.Host = "127.0.0.1" // the server would take all interfaces
	}
	return o, nil
}
