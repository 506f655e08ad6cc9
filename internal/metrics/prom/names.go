package prom

import "github.com/flavorless/flavorless/internal/metrics"

// declaration describes a metric of package metrics to Prometheus. Names follow
// https://prometheus.io/docs/practices/naming/.
type declaration struct {
	name     string // in package metrics
	promName string
	help     string
	labels   []label   // at most two
	buckets  []float64 // upper bounds in seconds; nil for a counter
}

// label has the name of a label, and the values for which series exist from the start. If there are no values, series
// are created when they are first measured.
type label struct {
	name   string
	values []string
}

// workBuckets are for durations from milliseconds to an hour.
func workBuckets() []float64 {
	return []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
}

// requestBuckets are for requests, which take tens of microseconds or more.
func requestBuckets() []float64 {
	return []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10}
}

func declared() []declaration {
	values := func(name string, values ...string) []label { return []label{{name, values}} }
	queue := values("queue", "ingest", "apply")
	return []declaration{
		{metrics.Rows, "flavorless_rows_total",
			"Rows of uploaded files, by outcome.",
			values("outcome", "applied", "unchanged", "superseded", "rejected"), nil},
		{metrics.Batches, "flavorless_batches_total",
			"Batches of rows, by outcome; a duplicate was applied before.",
			values("outcome", "applied", "duplicate"), nil},
		{metrics.Uploads, "flavorless_uploads_total",
			"Uploads that are finished, by status.",
			values("status", "live", "failed"), nil},
		{metrics.UploadToLive, "flavorless_upload_to_live_seconds",
			"Time from the upload of a file until all of its rows are live.",
			nil, workBuckets()},
		{metrics.Changes, "flavorless_changes_total",
			"Announced changes, by kind. A change that is announced twice counts twice.",
			values("kind", "created", "changed", "removed"), nil},
		{metrics.ChangeDelay, "flavorless_change_delay_seconds",
			"Time from the upload of a row until its change is announced.",
			nil, workBuckets()},
		{metrics.Retries, "flavorless_deliveries_retried_total",
			"Deliveries that failed and are retried, by queue.",
			queue, nil},
		{metrics.DeadLetters, "flavorless_dead_letters_total",
			"Messages that were given up, by queue.",
			queue, nil},
		{metrics.Requests, "flavorless_http_requests_total",
			"Requests of the read API, by route and status code.",
			[]label{{"route", nil}, {"status", nil}}, nil},
		{metrics.Latency, "flavorless_http_request_duration_seconds",
			"Time until a response of the read API begins, by route.",
			values("route"), requestBuckets()},
		{metrics.Authorizations, "flavorless_authorizations_total",
			"Verifications of tokens, by result.",
			values("result", "allowed", "unauthorized", "forbidden", "unavailable"), nil},
		{metrics.KeyFetches, "flavorless_jwks_fetches_total",
			"Fetches of the issuer's keys, by result.",
			values("result", "ok", "failed"), nil},
	}
}

// initial returns the label values of the series that exist from the start.
func (d declaration) initial() [][]string {
	if len(d.labels) == 0 {
		return [][]string{nil}
	}
	var all [][]string
	for _, value := range d.labels[0].values {
		all = append(all, []string{value})
	}
	return all
}
