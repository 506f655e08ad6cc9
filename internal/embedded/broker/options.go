package broker

import (
	"crypto/rand"
	"errors"
	"math"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Accounts of the server. Each has its own subjects; see accounts for the exceptions.
const (
	internalAccount   = "FLAVORLESS"  // all streams
	subscriberAccount = "SUBSCRIBERS" // a mirror of CHANGES
)

// Limits of the server. They bound the memory that clients can use.
const (
	maxPayload       = 1 << 20  // bytes of body and headers of a message on the wire
	maxRequest       = 8 << 10  // bytes of body and headers of a message that a subscriber sends
	headroom         = 16 << 10 // bytes of maxPayload that are reserved for the headers of a dead letter
	maxSubscriptions = 1024     // per connection
	ownConnections   = 8        // of this process, in addition to those of subscribers
	maxPending       = 8 << 20  // unsent bytes at which the server closes a slow connection
	writeDeadline    = 5 * time.Second
	maxConsumers     = 256      // of subscribers
	maxServerBuffer  = 64 << 20 // bytes published to one stream and not stored yet
)

// MaxMessage is the largest size of a message, in bytes of body, subject, id and attributes.
const MaxMessage = maxPayload - headroom

// subscriberRequests returns the subjects that a subscriber may publish to. Most are requests of JetStream's API:
// https://docs.nats.io/reference/reference-protocols/nats_api_reference
func subscriberRequests() []string {
	return []string{
		"$JS.API.INFO",
		"$JS.API.STREAM.INFO.CHANGES",
		"$JS.API.STREAM.NAMES", // to find the stream of a subject
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

// subscriberPermissions returns permissions to read CHANGES, directly or by a consumer, and nothing else.
func subscriberPermissions() *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: subscriberRequests()},
		// Clients get their answers in inboxes. [requests] refuses subscriptions to the inboxes of others.
		Subscribe: &server.SubjectPermission{Allow: []string{changesSubject, "_INBOX.>"}},
	}
}

// accountLimits returns a limit for the unacknowledged messages of a consumer, which the server keeps in memory. As a
// limit of the stream it would forbid consumers that do not acknowledge at all.
func accountLimits() map[string]server.JetStreamAccountLimits {
	return map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
		MaxAckPending: MaxOutstanding,
	}}
}

// accounts returns the internal account and that of subscribers. The latter imports the changes as they are published,
// and what its mirror of CHANGES needs: requests to create its consumer and to continue deliveries, and the deliveries.
// No other request of JetStream crosses from one account to the other.
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

// options returns the configuration of a server that does not listen: subscribers reach it through [subscribers]. It
// also returns the users of this process in both accounts.
func (c Config) options() (o *server.Options, internal, mirror *server.User, err error) {
	internals, subscribers, err := accounts()
	if err != nil {
		return nil, nil, nil, err
	}
	internal = &server.User{Username: "internal-" + rand.Text(), Password: rand.Text(), Account: internals}
	mirror = &server.User{Username: "mirror-" + rand.Text(), Password: rand.Text(), Account: subscribers}
	o = &server.Options{
		ServerName:    "flavorless",
		DontListen:    true,
		NoSigs:        true,
		Accounts:      []*server.Account{internals, subscribers},
		Users:         []*server.User{internal, mirror},
		MaxPayload:    maxPayload,
		MaxConn:       c.MaxConnections + ownConnections,
		MaxSubs:       maxSubscriptions,
		MaxPending:    maxPending,
		WriteDeadline: writeDeadline,
		// A slow subscriber without a consumer misses messages, rather than slowing the publisher down.
		NoFastProducerStall:    true,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               c.Dir,
		SyncInterval:           c.SyncInterval,
		JetStreamMaxMemory:     1 << 20, // file store only
		// The default is what is free on the disk at the start. The server would refuse to open streams that may grow
		// larger.
		JetStreamMaxStore:     math.MaxInt64,
		StreamMaxBufferedSize: maxServerBuffer,
	}
	if c.Subscriber.User != "" {
		o.Users = append(o.Users, &server.User{
			Username: c.Subscriber.User, Password: c.Subscriber.Password,
			Account: subscribers, Permissions: subscriberPermissions(),
		})
	}
	return o, internal, mirror, nil
}
