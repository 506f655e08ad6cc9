package config

import (
	"log/slog"
	"strings"

	"github.com/flavorless/flavorless/events"
)

// Function configures what all functions have in common.
type Function struct {
	Name  string // as in serverless.yml, such as "ingest"
	Stage string
	Level slog.Level // the lowest level that is logged
}

// Function reads STAGE and LOG_LEVEL. The default level is info.
func (e *Env) Function(name string) Function {
	f := Function{Name: name, Stage: e.text("STAGE")}
	if level := e.optional("LOG_LEVEL"); level != "" {
		if err := f.Level.UnmarshalText([]byte(level)); err != nil {
			e.problem("LOG_LEVEL", "is %q; use debug, info, warn or error", level)
		}
	}
	return f
}

// AWS is what Lambda sets in the environment of each function: its region, its credentials and, in tests, endpoints.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
type AWS struct {
	Region        string
	KeyID         string
	Secret, Token Secret

	endpoint  string
	endpoints map[string]string
}

// AWS reads AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_ENDPOINT_URL and
// AWS_ENDPOINT_URL_<SERVICE>. Tests set the last two.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
func (e *Env) AWS() AWS {
	a := AWS{
		Region: e.text("AWS_REGION"), KeyID: e.text("AWS_ACCESS_KEY_ID"), Secret: Secret(e.text("AWS_SECRET_ACCESS_KEY")),
		Token: Secret(e.optional("AWS_SESSION_TOKEN")), endpoint: e.url("AWS_ENDPOINT_URL", e.optional("AWS_ENDPOINT_URL")),
		endpoints: map[string]string{},
	}
	for _, service := range []string{"S3", "SNS", "SQS", "DYNAMODB"} {
		name := "AWS_ENDPOINT_URL_" + service
		a.endpoints[service] = e.url(name, e.optional(name))
	}
	return a
}

// Endpoint returns the URL of a service such as "SNS", or "" for that of AWS.
func (a AWS) Endpoint(service string) string {
	if url := a.endpoints[service]; url != "" {
		return url
	}
	return a.endpoint
}

// Ingest configures the function ingest.
type Ingest struct {
	Account          AWS
	UpdatesTopic     string // ARN
	UploadsTable     string
	ComparisonsTable string
	ReportsBucket    string
	DeadLetterQueue  string // URL
	Ignore           events.IgnoreList
	SortFrom         int64 // stored size in bytes from which on files are sorted and compared; 0 for never
}

// Ingest reads what AWS reads, and UPDATES_TOPIC_ARN, UPLOADS_TABLE, COMPARISONS_TABLE, REPORTS_BUCKET,
// DEAD_LETTER_QUEUE_URL, IGNORED_OBJECTS and SORT_FROM. IGNORED_OBJECTS is a list of patterns separated by spaces; if
// it is not set, [events.DefaultIgnoreList] applies.
func (e *Env) Ingest() Ingest {
	return Ingest{
		Account: e.AWS(), UpdatesTopic: e.arn("UPDATES_TOPIC_ARN", "sns"), UploadsTable: e.text("UPLOADS_TABLE"),
		ComparisonsTable: e.text("COMPARISONS_TABLE"), ReportsBucket: e.text("REPORTS_BUCKET"),
		DeadLetterQueue: e.deadLetterQueue(), Ignore: e.ignoreList("IGNORED_OBJECTS"), SortFrom: e.size("SORT_FROM"),
	}
}

func (e *Env) ignoreList(name string) events.IgnoreList {
	patterns, given := e.lookup(name)
	if !given {
		return events.DefaultIgnoreList()
	}
	list, err := events.ParseIgnoreList(strings.Fields(patterns))
	if err != nil {
		e.problem(name, "has a bad pattern: %v", err)
	}
	return list
}

// Apply configures the function apply.
type Apply struct {
	Account          AWS
	FavoritesTable   string
	UploadsTable     string
	ComparisonsTable string
	ReportsBucket    string
	DeadLetterQueue  string // URL
}

// Apply reads what AWS reads, and FAVORITES_TABLE, UPLOADS_TABLE, COMPARISONS_TABLE, REPORTS_BUCKET and
// DEAD_LETTER_QUEUE_URL.
func (e *Env) Apply() Apply {
	return Apply{
		Account: e.AWS(), FavoritesTable: e.text("FAVORITES_TABLE"), UploadsTable: e.text("UPLOADS_TABLE"),
		ComparisonsTable: e.text("COMPARISONS_TABLE"), ReportsBucket: e.text("REPORTS_BUCKET"),
		DeadLetterQueue: e.deadLetterQueue(),
	}
}

// Announce configures the function announce.
type Announce struct {
	Account         AWS
	ChangesTopic    string // ARN
	DeadLetterQueue string // URL
}

// Announce reads what AWS reads, and CHANGES_TOPIC_ARN and DEAD_LETTER_QUEUE_URL.
func (e *Env) Announce() Announce {
	return Announce{e.AWS(), e.arn("CHANGES_TOPIC_ARN", "sns"), e.deadLetterQueue()}
}

func (e *Env) deadLetterQueue() string {
	const name = "DEAD_LETTER_QUEUE_URL"
	return e.url(name, e.text(name))
}

// Reader configures a function of the read API. It names only the tables that the function may read.
type Reader struct {
	Account        AWS
	FavoritesTable string
	UploadsTable   string
	BasePath       string   // path prefix of the URLs that clients see
	AllowedOrigins []string // web origins whose pages may use the API
}

// Favorites reads the configuration of the functions team and lookup: what AWS reads, and FAVORITES_TABLE, BASE_PATH
// and ALLOWED_ORIGIN. The last is a list separated by commas, and may be empty.
func (e *Env) Favorites() Reader {
	r := e.reader()
	r.FavoritesTable = e.text("FAVORITES_TABLE")
	return r
}

// Uploads reads the configuration of the function uploads: what AWS reads, and UPLOADS_TABLE, BASE_PATH and
// ALLOWED_ORIGIN.
func (e *Env) Uploads() Reader {
	r := e.reader()
	r.UploadsTable = e.text("UPLOADS_TABLE")
	return r
}

func (e *Env) reader() Reader {
	r := Reader{Account: e.AWS(), BasePath: e.optional("BASE_PATH")}
	if r.BasePath != "" && (!strings.HasPrefix(r.BasePath, "/") || strings.ContainsAny(r.BasePath, "?# ")) {
		e.problem("BASE_PATH", "is %q; write it like /prod, or leave it empty", r.BasePath)
	}
	for _, origin := range strings.Split(e.optional("ALLOWED_ORIGIN"), ",") {
		switch origin = strings.TrimSpace(origin); {
		case origin == "":
		case origin != "*" && (e.url("ALLOWED_ORIGIN", origin) == "" || strings.Count(origin, "/") != 2):
			e.problem("ALLOWED_ORIGIN", "has %q, which is not an origin; write it like https://flavors.example", origin)
		default:
			r.AllowedOrigins = append(r.AllowedOrigins, origin)
		}
	}
	return r
}

// Authorizer configures the function authorizer.
type Authorizer struct {
	Issuer        string
	Audience      string
	JWKSURI       string
	RequiredScope string // may be empty
}

// Authorizer reads TOKEN_ISSUER, AUDIENCE, JWKS_URI and REQUIRED_SCOPE.
func (e *Env) Authorizer() Authorizer {
	return Authorizer{
		Issuer: e.text("TOKEN_ISSUER"), Audience: e.text("AUDIENCE"), JWKSURI: e.url("JWKS_URI", e.text("JWKS_URI")),
		RequiredScope: e.optional("REQUIRED_SCOPE"),
	}
}
