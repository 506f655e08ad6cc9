// Package metrics measures the pipeline and the API. Code records measurements with a Recorder, which has two
// implementations: EMF writes log lines from which CloudWatch makes metrics, and prom.Recorder serves them to
// Prometheus.
//
// The core contains no measuring code. Table, Ledger, Announcer, HTTP and tokens.Verifier wrap what it works with.
package metrics

import "time"

// Recorder records measurements. It is safe for concurrent use.
type Recorder interface {
	// Count adds n to a counter.
	Count(name string, n int64, labels ...Label)
	// Observe adds one duration to a distribution.
	Observe(name string, d time.Duration, labels ...Label)
}

// Label distinguishes the counters or distributions of a name. It must have few values, because CloudWatch charges for
// each combination as a metric.
type Label struct{ Name, Value string }

// Names of the metrics. The comments list their labels and values. All but those marked as durations are counters.
const (
	Rows           = "rows"           // outcome: applied, unchanged, superseded, rejected
	Batches        = "batches"        // outcome: applied, duplicate
	Uploads        = "uploads"        // status: live, failed
	UploadToLive   = "upload_to_live" // duration from the upload of a file until it is live; no labels
	Changes        = "changes"        // kind: created, changed, removed
	ChangeDelay    = "change_delay"   // duration from the upload of a row until its change is announced; no labels
	Retries        = "retries"        // deliveries that failed and are retried; queue: ingest, apply; no labels on AWS
	DeadLetters    = "dead_letters"   // messages that were given up; queue: ingest, apply; no labels on AWS
	Requests       = "http_requests"  // route, status
	Latency        = "http_latency"   // duration until the response begins; route
	Authorizations = "authorizations" // result: allowed, unauthorized, forbidden, unavailable
	KeyFetches     = "jwks_fetches"   // result: ok, failed
)
