package prom

import "github.com/flavorless/flavorless/internal/metrics"

// declaration says of a metric of package metrics what it is called outside. Names follow
// https://prometheus.io/docs/practices/naming/.
type declaration struct {
	name    string // one of package metrics
	as      string
	help    string
	labels  []label   // at most two
	buckets []float64 // upper bounds, in seconds, of a distribution; nil for a counter
}

// label is a name, and the values that are there from the beginning. Without any, series come as they are measured.
type label struct {
	name   string
	values []string
}

// Buckets, in seconds. The first are those of work that takes from milliseconds to an hour, the others of requests,
// which take from tens of microseconds on.
func workBuckets() []float64 {
	return []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
}

func requestBuckets() []float64 {
	return []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10}
}

func declared() []declaration {
	queue := []label{{"queue", []string{"ingest", "apply"}}}
	return []declaration{
		{metrics.Rows, "flavorless_rows_total", "Rows of uploaded files, by what became of them.",
			[]label{{"outcome", []string{"applied", "superseded", "rejected"}}}, nil},
		{metrics.Batches, "flavorless_batches_total", "Batches of rows, by whether they were applied or had been before.",
			[]label{{"outcome", []string{"applied", "duplicate"}}}, nil},
		{metrics.Uploads, "flavorless_uploads_total", "Uploads that came to their end, by that.",
			[]label{{"status", []string{"live", "failed"}}}, nil},
		{metrics.UploadToLive, "flavorless_upload_to_live_seconds", "From the upload of a file until all of its rows are live.",
			nil, workBuckets()},
		{metrics.Changes, "flavorless_changes_total", "Announced changes, by what changed. Announced again they count again.",
			[]label{{"kind", []string{"created", "changed", "removed"}}}, nil},
		{metrics.ChangeDelay, "flavorless_change_delay_seconds", "From the upload of a row until the change that it made is announced.",
			nil, workBuckets()},
		{metrics.Retries, "flavorless_deliveries_retried_total", "Deliveries that failed and come again, by queue.", queue, nil},
		{metrics.DeadLetters, "flavorless_dead_letters_total", "Messages that were given up, by queue.", queue, nil},
		{metrics.Requests, "flavorless_http_requests_total", "Requests of the read API, by route and status code.",
			[]label{{"route", nil}, {"status", nil}}, nil},
		{metrics.Latency, "flavorless_http_request_duration_seconds", "How long it took until an answer of the read API began, by route.",
			[]label{{"route", nil}}, requestBuckets()},
		{metrics.Authorizations, "flavorless_authorizations_total", "Checks of tokens, by result.",
			[]label{{"result", []string{"allowed", "unauthorized", "forbidden", "unavailable"}}}, nil},
		{metrics.KeyFetches, "flavorless_jwks_fetches_total", "Fetches of the issuer's keys, by result.",
			[]label{{"result", []string{"ok", "failed"}}}, nil},
	}
}

// series gives those that are there from the beginning.
func (d declaration) series() (all []series) {
	switch {
	case len(d.labels) == 0:
		return []series{{name: d.name}}
	case len(d.labels) > 1:
		return nil
	}
	for _, value := range d.labels[0].values {
		all = append(all, series{name: d.name, first: value})
	}
	return all
}
