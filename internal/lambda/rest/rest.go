// Package rest serves an http.Handler behind a REST API of API Gateway. It converts the events of the Lambda proxy
// integration to http.Requests, and what the handler writes to the integration's responses.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/version"
)

// table is what the API reads.
type table interface {
	Team(ctx context.Context, after string, limit int) ([]events.Favorite, error)
	Lookup(ctx context.Context, person string) (events.Favorite, error)
	Uploads(ctx context.Context, before string, limit int) ([]events.Upload, error)
	Upload(ctx context.Context, id string) (events.Upload, error)
}

// Config configures New.
type Config struct {
	Table          table
	BasePath       string   // path prefix of the URLs that clients see: the stage, or "" behind a custom domain
	AllowedOrigins []string // web origins whose pages may use the API
	Metrics        metrics.Recorder
	Log            *slog.Logger
}

// New returns the API behind a gateway that has an authorizer. It serves all routes; the gateway decides which of them
// reach this function.
func New(c Config) (Gateway, error) {
	handler, err := api.New(api.Config{
		Favorites: c.Table, Uploads: c.Table, Verifier: Verifier{Clock: time.Now}, BasePath: c.BasePath,
		AllowedOrigins: c.AllowedOrigins, Version: version.Get().Version, Logger: c.Log,
	})
	return Gateway{Handler: handler, Metrics: c.Metrics, Clock: time.Now, Log: c.Log}, err
}

// Gateway serves the requests that API Gateway passes on.
type Gateway struct {
	Handler http.Handler
	Metrics metrics.Recorder
	Clock   func() time.Time
	Log     *slog.Logger
}

// Handle serves one request. Its error is always nil, because the gateway would respond to an error with 502.
func (g Gateway) Handle(
	ctx context.Context, event lambdaevents.APIGatewayProxyRequest,
) (lambdaevents.APIGatewayProxyResponse, error) {
	began := g.Clock()
	w := &recorder{header: http.Header{}}
	r, err := newRequest(withAuthorizer(ctx, event.RequestContext.Authorizer), &event)
	if err != nil {
		// A url.Error quotes the path, which may contain a person's name.
		if parsing := new(url.Error); errors.As(err, &parsing) {
			err = parsing.Err
		}
		g.Log.WarnContext(ctx, "request is malformed", "route", event.Resource, "error", err)
		w.problem(http.StatusBadRequest, "the request is malformed; check its path, method and body encoding")
	} else {
		g.Handler.ServeHTTP(w, r)
	}
	if w.tooLarge() {
		g.Log.WarnContext(ctx, "response is too large", "route", event.Resource, "bytes", w.body.Len())
		w = &recorder{header: http.Header{}}
		w.problem(http.StatusBadRequest, "the response is too large; set a smaller limit")
	}
	// The label is the template of the path, because the number of labels must be limited.
	metrics.RecordRequest(g.Metrics, event.Resource, w.status, g.Clock().Sub(began))
	return w.response(), nil
}
