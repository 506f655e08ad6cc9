package config

import (
	"log/slog"
	"strings"

	"github.com/flavorless/flavorless/events"
)

// Function is what every function is told.
type Function struct {
	Name  string // as in serverless.yml: "ingest"
	Stage string
	Level slog.Level // below which nothing is logged
}

// Function reads STAGE and LOG_LEVEL, which is info unless told.
func (e *Env) Function(name string) Function {
	f := Function{Name: name, Stage: e.text("STAGE")}
	if level := e.optional("LOG_LEVEL"); level != "" {
		if err := f.Level.UnmarshalText([]byte(level)); err != nil {
			e.wrong("LOG_LEVEL", "is %q; debug, info, warn and error are possible", level)
		}
	}
	return f
}

// AWS is what Lambda itself tells functions that use Amazon's services.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
type AWS struct {
	Region        string
	KeyID         string
	Secret, Token Secret

	endpoint  string
	endpoints map[string]string
}

// AWS reads AWS_REGION, the credentials, and AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_<SERVICE>, which tests set.
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

// Endpoint gives the URL of a service; "" for Amazon's own.
func (a AWS) Endpoint(service string) string {
	if url := a.endpoints[service]; url != "" {
		return url
	}
	return a.endpoint
}

// Ingest is what the function ingest is told.
type Ingest struct {
	UpdatesTopic    string // ARN
	UploadsTable    string
	ReportsBucket   string
	DeadLetterQueue string // URL
	Ignore          events.IgnoreList
}

// Ingest reads UPDATES_TOPIC_ARN, UPLOADS_TABLE, REPORTS_BUCKET, DEAD_LETTER_QUEUE_URL and IGNORED_OBJECTS. The last are patterns
// with spaces between; events.DefaultIgnoreList if it is not set.
func (e *Env) Ingest() Ingest {
	return Ingest{
		e.arn("UPDATES_TOPIC_ARN", "sns"), e.text("UPLOADS_TABLE"), e.text("REPORTS_BUCKET"), e.deadLetterQueue(), e.ignoreList("IGNORED_OBJECTS"),
	}
}

func (e *Env) ignoreList(name string) events.IgnoreList {
	patterns, given := e.lookup(name)
	if !given {
		return events.DefaultIgnoreList()
	}
	list, err := events.ParseIgnoreList(strings.Fields(patterns))
	if err != nil {
		e.wrong(name, "has a bad pattern: %v", err)
	}
	return list
}

// Apply is what the function apply is told.
type Apply struct {
	FavoritesTable  string
	UploadsTable    string
	DeadLetterQueue string // URL
}

// Apply reads FAVORITES_TABLE, UPLOADS_TABLE and DEAD_LETTER_QUEUE_URL.
func (e *Env) Apply() Apply {
	return Apply{e.text("FAVORITES_TABLE"), e.text("UPLOADS_TABLE"), e.deadLetterQueue()}
}

// Announce is what the function announce is told.
type Announce struct {
	ChangesTopic    string // ARN
	DeadLetterQueue string // URL
}

// Announce reads CHANGES_TOPIC_ARN and DEAD_LETTER_QUEUE_URL.
func (e *Env) Announce() Announce {
	return Announce{e.arn("CHANGES_TOPIC_ARN", "sns"), e.deadLetterQueue()}
}

func (e *Env) deadLetterQueue() string {
	const name = "DEAD_LETTER_QUEUE_URL"
	return e.url(name, e.text(name))
}

// Reader is what the functions behind the API are told. Each knows only the tables that it may read.
type Reader struct {
	FavoritesTable string
	UploadsTable   string
	BasePath       string   // what precedes the routes in URLs that clients see
	AllowedOrigins []string // web origins whose pages may read
}

// Favorites reads what team and lookup are told: FAVORITES_TABLE, BASE_PATH and ALLOWED_ORIGIN. The last may be empty, or
// several with commas between.
func (e *Env) Favorites() Reader {
	r := e.reader()
	r.FavoritesTable = e.text("FAVORITES_TABLE")
	return r
}

// Uploads reads what uploads is told: UPLOADS_TABLE, BASE_PATH and ALLOWED_ORIGIN.
func (e *Env) Uploads() Reader {
	r := e.reader()
	r.UploadsTable = e.text("UPLOADS_TABLE")
	return r
}

func (e *Env) reader() Reader {
	r := Reader{BasePath: e.optional("BASE_PATH")}
	if r.BasePath != "" && (!strings.HasPrefix(r.BasePath, "/") || strings.ContainsAny(r.BasePath, "?# ")) {
		e.wrong("BASE_PATH", "is %q; write it like /prod, or leave it empty", r.BasePath)
	}
	for _, origin := range strings.Split(e.optional("ALLOWED_ORIGIN"), ",") {
		switch origin = strings.TrimSpace(origin); {
		case origin == "":
		case origin != "*" && (e.url("ALLOWED_ORIGIN", origin) == "" || strings.Count(origin, "/") != 2):
			e.wrong("ALLOWED_ORIGIN", "has %q, which is not an origin; write it like https://flavors.example", origin)
		default:
			r.AllowedOrigins = append(r.AllowedOrigins, origin)
		}
	}
	return r
}

// Authorizer is what the function authorizer is told: which tokens are good.
type Authorizer struct {
	Issuer        string
	Audience      string
	JWKSURI       string
	RequiredScope string // may be empty
}

// Authorizer reads TOKEN_ISSUER, AUDIENCE, JWKS_URI and REQUIRED_SCOPE.
func (e *Env) Authorizer() Authorizer {
	return Authorizer{e.text("TOKEN_ISSUER"), e.text("AUDIENCE"), e.url("JWKS_URI", e.text("JWKS_URI")), e.optional("REQUIRED_SCOPE")}
}
