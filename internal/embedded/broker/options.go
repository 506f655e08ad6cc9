package broker

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Accounts of the server. Subjects of one are unknown in the other, apart from the imports in accounts.
const (
	internalAccount   = "FLAVORLESS"  // all streams
	subscriberAccount = "SUBSCRIBERS" // a mirror of CHANGES
)

// Limits of the server, chosen so that no client can take the house's memory.
const (
	maxPayload       = 1 << 20  // bytes of body and headers of a message on the wire
	maxRequest       = 8 << 10  // bytes of body and headers of a message that a subscriber sends
	maxHeadroom      = 16 << 10 // bytes of it kept for the headers that a dead letter adds
	maxSubscriptions = 1024     // per connection
	ownConnections   = 8        // of this process, which subscribers can't take: they have a limit of their own
	maxPending       = 8 << 20  // bytes waiting for one slow connection; beyond, it is closed
	writeDeadline    = 5 * time.Second
	maxConsumers     = 256      // of subscribers
	maxServerBuffer  = 64 << 20 // bytes published to one stream and not stored yet
)

// MaxMessage is the greatest size of a message, in bytes of body, subject, id and attributes.
const MaxMessage = maxPayload - maxHeadroom

// Credential is a user name and password.
type Credential struct{ User, Password string }

// subscriberRequests are the subjects that a client may publish to. The first part is requests of JetStream's API:
// https://docs.nats.io/reference/reference-protocols/nats_api_reference
func subscriberRequests() []string {
	return []string{
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

		refusePublish, refuseRequest, refuseMessage, refuseLarge, deletePrefix + "*", // see answers.go
	}
}

// subscriberPermissions let a client read CHANGES, directly or by a consumer, and nothing else.
func subscriberPermissions() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: subscriberRequests()},
		// _INBOX is where clients await answers. Other subscribers' answers pass there as well: changes, which they may
		// read anyway.
		Subscribe: &server.SubjectPermission{Allow: []string{changesSubject, "_INBOX.>"}},
	}
}

// accountLimits bounds what a consumer may leave unacknowledged, which the server keeps in memory. (As a limit of the
// stream it would forbid consumers that don't acknowledge at all.)
func accountLimits() map[string]server.JetStreamAccountLimits {
	return map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
		MaxAckPending: MaxOutstanding,
	}}
}

// accounts returns the internal account and that of subscribers. The latter imports the changes as they are published, and
// what its mirror of CHANGES needs: to create its consumer, to be delivered to, and to ask for more. No other request of
// JetStream crosses from one account to the other.
func accounts() (internal, subscribers *server.Account, err error) {
	internal, subscribers = server.NewAccount(internalAccount), server.NewAccount(subscriberAccount)
	only := []*server.Account{subscribers}
	for _, subject := range []string{changesSubject, mirrorDelivery + ".>"} {
		err = errors.Join(err, internal.AddStreamExport(subject, only), subscribers.AddStreamImport(internal, subject, ""))
	}
	for from, to := range map[string]string{
		mirrorAPI + ".CONSUMER.CREATE." + string(Changes): "$JS.API.CONSUMER.CREATE." + string(Changes),
		"$JS.FC." + string(Changes) + ".>":                "$JS.FC." + string(Changes) + ".>",
	} {
		err = errors.Join(err, internal.AddServiceExport(to, only), subscribers.AddServiceImport(internal, from, to))
	}
	return internal, subscribers, err
}

// options returns the configuration of a server that listens nowhere: subscribers reach it through [subscribers].
func (c Config) options() (o *server.Options, internal, mirror *server.User, err error) {
	internalAccount, subscriberAccount, err := accounts()
	if err != nil {
		return nil, nil, nil, err
	}
	internal = &server.User{Username: "internal-" + rand.Text(), Password: rand.Text(), Account: internalAccount}
	mirror = &server.User{Username: "mirror-" + rand.Text(), Password: rand.Text(), Account: subscriberAccount}
	o = &server.Options{
		ServerName:    "flavorless",
		DontListen:    true,
		NoSigs:        true,
		Accounts:      []*server.Account{internalAccount, subscriberAccount},
		Users:         []*server.User{internal, mirror},
		MaxPayload:    maxPayload,
		MaxConn:       c.MaxConnections + ownConnections,
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
			Account: subscriberAccount, Permissions: subscriberPermissions(),
		})
	}
	return o, internal, mirror, nil
}
