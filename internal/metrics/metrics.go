// Package metrics says how much of what happened. Whoever measures knows a Recorder; where the measurements go is its
// implementation's affair: EMF writes them as log lines that CloudWatch makes metrics of, without a call in anybody's
// way; prom.Recorder keeps them for Prometheus to fetch.
//
// What is measured of the core is measured around it: Table, Ledger, Announcer, HTTP and tokens.Verifier wrap what it
// works with.
package metrics

import "time"

// Recorder takes measurements. It is safe for concurrent use.
type Recorder interface {
	// Count adds n to a counter.
	Count(name string, n int64, labels ...Label)
	// Observe adds one duration to a distribution.
	Observe(name string, d time.Duration, labels ...Label)
}

// Label tells counters and distributions of one name apart. Its values must be few: each is a metric to pay for.
type Label struct{ Name, Value string }

// Names of what is measured. Each has its labels beside it. Durations are marked as such; the others are counts.
const (
	Rows           = "rows"           // outcome: applied, superseded, rejected
	Batches        = "batches"        // outcome: applied, duplicate
	Uploads        = "uploads"        // status: live, failed
	UploadToLive   = "upload_to_live" // duration, of uploads that became live; no labels
	Changes        = "changes"        // kind: created, changed, removed
	ChangeDelay    = "change_delay"   // duration, from the upload of a change's row until it is announced; no labels
	Retries        = "retries"        // deliveries that have to come again; queue: ingest, apply; on AWS no labels
	DeadLetters    = "dead_letters"   // queue: ingest, apply; on AWS no labels
	Requests       = "http_requests"  // route, status
	Latency        = "http_latency"   // duration until the answer begins; route
	Authorizations = "authorizations" // result: allowed, unauthorized, forbidden, unavailable
	KeyFetches     = "jwks_fetches"   // result: ok, failed
)
