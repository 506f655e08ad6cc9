package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
)

// connection is how to reach a server: from the environment that `flavorless env` sets, or else from a data folder.
type connection struct {
	info  local.Info
	token string
	http  *http.Client
}

// clientFlags are those of every command that talks to a server.
type clientFlags struct{ data string }

// connect finds the server. A data folder that was named wins over the environment, and that over the default folder.
func (f clientFlags) connect(named bool) (*connection, error) {
	c := &connection{http: &http.Client{Timeout: 30 * time.Second}}
	if env := os.Getenv("FLAVORLESS_URL"); env != "" && !named {
		c.info = local.Info{
			API: strings.TrimRight(env, "/"), S3: os.Getenv("AWS_ENDPOINT_URL_S3"), Bucket: os.Getenv("FLAVORLESS_BUCKET"),
			Region:    cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"),
			AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		}
		c.token = os.Getenv("FLAVORLESS_TOKEN")
		return c, nil
	}
	var err error
	if c.info, err = readInfo(f.data); err != nil {
		return nil, err
	}
	c.token = os.Getenv("FLAVORLESS_TOKEN")
	if c.info.Development {
		c.token, err = developmentToken(f.data, c.info, "cli", time.Hour)
	} else if c.token == "" {
		err = usage("the server takes the tokens of its own identity provider; put one into FLAVORLESS_TOKEN")
	}
	return c, err
}

func readInfo(dir string) (local.Info, error) {
	info, err := local.ReadInfo(dir)
	if errors.Is(err, local.ErrNotRunning) {
		return info, usage("%w; start one with: flavorless serve --data %s", err, dir)
	}
	if err != nil {
		return info, usage("%w", err)
	}
	return info, nil
}

func developmentToken(dir string, info local.Info, subject string, ttl time.Duration) (string, error) {
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(dir)})
	if err != nil {
		return "", fmt.Errorf("the development issuer of %s: %w", dir, err)
	}
	return is.Sign(issuer.Grant{Subject: subject, Audience: info.Audience, Scope: info.Scope, TTL: ttl})
}

// errNotFound is the API's 404.
var errNotFound = errors.New("not found")

// get reads a route of the API into v and returns the next page's route, if there is one.
func (c *connection) get(ctx context.Context, route string, v any) (next string, err error) {
	res, err := c.do(ctx, route)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", problem(res)
	}
	if err := json.NewDecoder(res.Body).Decode(v); err != nil {
		return "", fmt.Errorf("reading the answer of %s: %w", route, err)
	}
	return nextPage(res.Header.Get("Link")), nil
}

func (c *connection) do(ctx context.Context, route string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.info.API+route, nil)
	if err != nil {
		return nil, usage("%w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := c.http.Do(req)
	var broken *url.Error
	if errors.As(err, &broken) && ctx.Err() == nil {
		return nil, usage("nothing answers at %s (%w); is the server running? start one with: flavorless serve", c.info.API, broken.Err)
	}
	return res, err
}

// raw reads a route of the API as it stands.
func (c *connection) raw(ctx context.Context, route string) (status, body string, err error) {
	res, err := c.do(ctx, route)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.Status, string(b), err
}

// problem turns a problem document (RFC 9457) into an error.
func problem(res *http.Response) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if json.Unmarshal(body, &p) != nil || p.Title == "" {
		p.Title = res.Status
	}
	text := p.Title
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	switch res.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", errNotFound, text)
	case http.StatusUnauthorized, http.StatusForbidden:
		return usage("the server refuses the token (%s); for a new one: eval \"$(flavorless env)\"", text)
	}
	return errors.New(text)
}

// nextPage reads the target of rel="next" out of a Link header (RFC 8288), of the one form that the API writes.
func nextPage(link string) string {
	target, params, found := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !found || !strings.Contains(params, `rel="next"`) {
		return ""
	}
	return target
}
