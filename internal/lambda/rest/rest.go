// Package rest puts an http.Handler behind a REST API of API Gateway: the requests of its Lambda proxy integration
// become http.Requests, and what the handler writes becomes the integration's answer.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/flavorless/flavorless/api"
	stored "github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/metrics"
	"github.com/flavorless/flavorless/internal/version"
)

// table is what the API reads.
type table interface {
	Team(ctx context.Context, after string, limit int) ([]stored.Favorite, error)
	Lookup(ctx context.Context, person string) (stored.Favorite, error)
	Uploads(ctx context.Context, before string, limit int) ([]stored.Upload, error)
	Upload(ctx context.Context, id string) (stored.Upload, error)
}

// Config of the API behind a gateway.
type Config struct {
	Table          table
	BasePath       string   // what precedes the routes in URLs that clients see: the stage, or nothing behind a domain of one's own
	AllowedOrigins []string // web origins whose pages may read
	Metrics        metrics.Recorder
	Log            *slog.Logger
}

// New returns the API behind a gateway that has an authorizer. It is all of the API, in each function: which routes
// lead where is the gateway's affair.
func New(c Config) (Gateway, error) {
	handler, err := api.New(api.Config{
		Favorites: c.Table, Uploads: c.Table, Verifier: Verifier{Clock: time.Now}, BasePath: c.BasePath, AllowedOrigins: c.AllowedOrigins,
		Version: version.Get().Version, Logger: c.Log,
	})
	return Gateway{Handler: handler, Metrics: c.Metrics, Clock: time.Now, Log: c.Log}, err
}

// Gateway answers the requests that API Gateway hands over.
type Gateway struct {
	Handler http.Handler
	Metrics metrics.Recorder
	Clock   func() time.Time
	Log     *slog.Logger
}

// Handle serves one request. Its error is always nil: to the gateway that would be a 502.
func (g Gateway) Handle(ctx context.Context, event events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error) {
	began := g.Clock()
	w := &recorder{header: http.Header{}}
	r, err := request(withAuthorizer(ctx, event.RequestContext.Authorizer), &event)
	if err != nil {
		// The text of a url.Error quotes the path, which may hold a person's name.
		if parsing := new(url.Error); errors.As(err, &parsing) {
			err = parsing.Err
		}
		g.Log.WarnContext(ctx, "request not understood", "route", event.Resource, "error", err)
		w.problem(http.StatusBadRequest, "the request is malformed")
	} else {
		g.Handler.ServeHTTP(w, r)
	}
	if w.tooLarge() {
		g.Log.WarnContext(ctx, "answer too large", "route", event.Resource, "bytes", w.body.Len())
		w = &recorder{header: http.Header{}}
		w.problem(http.StatusBadRequest, "the answer is too large; ask for a smaller page by ?limit=")
	}
	metrics.RecordRequest(g.Metrics, event.Resource, w.status, g.Clock().Sub(began)) // the template, not the path: there are few
	return w.response(), nil
}
