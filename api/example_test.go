package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
)

// team is a table with one person, and a ledger without uploads.
type team struct{}

func (team) Team(_ context.Context, after string, _ int) ([]events.Favorite, error) {
	if after >= "andy" {
		return nil, nil
	}
	return []events.Favorite{{Person: "andy", Flavor: "cookie dough"}}, nil
}

func (team) Lookup(context.Context, string) (events.Favorite, error) {
	return events.Favorite{}, events.ErrNotFound
}

func (team) Uploads(context.Context, string, int) ([]events.Upload, error) { return nil, nil }

func (team) Upload(context.Context, string) (events.Upload, error) {
	return events.Upload{}, events.ErrNotFound
}

// secretVerifier accepts one fixed token. Programs use an *api.Verifier, which checks JWTs.
type secretVerifier struct{}

func (secretVerifier) Verify(_ context.Context, authorization string) (api.Claims, error) {
	if authorization != "Bearer secret" {
		return api.Claims{}, &api.AuthError{Description: "a bearer token is required"}
	}
	return api.Claims{Subject: "liz", Expires: time.Now().Add(time.Hour)}, nil
}

func ExampleNew() {
	handler, err := api.New(api.Config{Favorites: team{}, Uploads: team{}, Verifier: secretVerifier{}})
	if err != nil {
		panic(err)
	}
	for _, authorization := range []string{"Bearer secret", ""} {
		request := httptest.NewRequest(http.MethodGet, "/team", nil)
		request.Header.Set("Authorization", authorization)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		fmt.Print(recorder.Code, " ", recorder.Body)
	}
	// Output:
	// 200 {"andy":"cookie dough"}
	// 401 {"type":"about:blank","title":"Unauthorized","status":401,"detail":"a bearer token is required"}
}
