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
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/aws/stack"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
)

// connection is how to reach a home of the pipeline: a server on this machine, or a deployed stack.
type connection struct {
	info  local.Info // of a stack only API and Bucket are known
	token string
	http  *http.Client
	stack *stack.Stack // nil for a server on this machine
}

// clientFlags are those of every command that talks to a server or a stack.
type clientFlags struct {
	data, token            string
	stack, profile, region string
}

// add puts the flags on a command that reads from the API.
func (f *clientFlags) add(c *cobra.Command) {
	f.addHome(c)
	c.Flags().StringVar(&f.token, "token", "", "bearer token for the API (default: FLAVORLESS_TOKEN, or one of the data folder's development issuer)")
}

// addHome puts those on a command that say which home is meant.
func (f *clientFlags) addHome(c *cobra.Command) {
	dataFlag(c, &f.data)
	c.Flags().StringVar(&f.stack, "stack", "", "talk to this deployed stack instead, such as flavorless-dev (default: FLAVORLESS_STACK)")
	c.Flags().StringVar(&f.profile, "profile", "", "profile of the shared AWS configuration, for --stack (default: AWS_PROFILE)")
	c.Flags().StringVar(&f.region, "region", "", "AWS region, for --stack (default: AWS_REGION, or the profile's)")
}

// locate finds the home. What the command line names, a stack or a data folder, wins over the environment, and that over
// the default folder.
func (f clientFlags) locate(ctx context.Context, named bool) (*connection, error) {
	c := &connection{http: &http.Client{Timeout: 30 * time.Second}, token: cmp.Or(f.token, os.Getenv("FLAVORLESS_TOKEN"))}
	if f.stack != "" && named {
		return nil, usage("--stack and --data are two homes; choose one")
	}
	if name := f.stackName(named); name != "" {
		return c, c.open(ctx, stack.Config{Name: name, Profile: f.profile, Region: f.region})
	}
	if f.profile != "" || f.region != "" {
		return nil, usage("--profile and --region are about a deployed stack; say which with --stack")
	}
	if env := os.Getenv("FLAVORLESS_URL"); env != "" && !named {
		c.info = local.Info{
			API: strings.TrimRight(env, "/"), S3: os.Getenv("AWS_ENDPOINT_URL_S3"), Bucket: os.Getenv("FLAVORLESS_BUCKET"),
			Region:    cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"),
			AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			NATS: os.Getenv("FLAVORLESS_NATS_URL"),
		}
		return c, nil
	}
	var err error
	c.info, err = readInfo(f.data)
	return c, err
}

// stackName returns the name of the deployed stack that is meant, and nothing for a server on this machine. The data folder is
// named if --data is given.
func (f clientFlags) stackName(named bool) string {
	if f.stack == "" && !named {
		return os.Getenv("FLAVORLESS_STACK")
	}
	return f.stack
}

// homeFlags returns the flags, after a space, with which another command reaches the same home.
func (f clientFlags) homeFlags(c *connection) string {
	switch {
	case c.stack != nil:
		return " --stack " + c.stack.Name()
	case f.data != defaultData && f.data != "":
		return " --data " + shellWord(f.data)
	}
	return ""
}

// open finds a deployed stack.
func (c *connection) open(ctx context.Context, config stack.Config) error {
	var err error
	if c.stack, err = stack.Open(ctx, config); err == nil {
		c.info.API, err = c.stack.API()
	}
	if err == nil {
		c.info.Bucket, err = c.stack.UploadsBucket()
	}
	if err != nil && ctx.Err() == nil {
		return usage("%w", err)
	}
	return err
}

// connect finds the home, and a token for its API.
func (f clientFlags) connect(ctx context.Context, named bool) (*connection, error) {
	c, err := f.locate(ctx, named)
	if err != nil || c.stack != nil || c.info.PID == 0 { // only a data folder has an issuer, and can tell that it has none
		return c, err
	}
	if c.info.Development && f.token == "" {
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
		return "", c.problem(res)
	}
	if err := json.NewDecoder(res.Body).Decode(v); err != nil {
		return "", fmt.Errorf("reading the answer of %s: %w", route, err)
	}
	return c.nextPage(res)
}

// A route is asked for so often while the answer is 503 and says when to come again.
const (
	mostAsked  = 4
	latestWait = 10 * time.Second
)

func (c *connection) do(ctx context.Context, route string) (*http.Response, error) {
	for asked := 1; ; asked++ {
		res, err := c.ask(ctx, route)
		if err != nil || res.StatusCode != http.StatusServiceUnavailable || asked == mostAsked {
			return res, err
		}
		seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16)
		if err != nil {
			return res, nil //nolint:nilerr // the answer is one all the same
		}
		res.Body.Close()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(time.Duration(seconds)*time.Second, latestWait)):
		}
	}
}

func (c *connection) ask(ctx context.Context, route string) (*http.Response, error) {
	if c.stack != nil && c.token == "" {
		return nil, usage("reading from the stack %s needs a token of its identity provider; put one into FLAVORLESS_TOKEN", c.stack.Name())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.info.API+route, nil)
	if err != nil {
		return nil, usage("%w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := c.http.Do(req)
	var broken *url.Error
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, errStopped
	case errors.As(err, &broken):
		return nil, c.silent(c.info.API, broken.Err)
	}
	return res, err
}

// silent is the error when nothing answers where the home should be.
func (c *connection) silent(where string, err error) error {
	if c.stack != nil {
		return usage("nothing answers at %s (%w); is there a network?", where, err)
	}
	return usage("nothing answers at %s (%w); is the server running? start one with: flavorless serve", where, err)
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
func (c *connection) problem(res *http.Response) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if json.Unmarshal(body, &p) != nil || p.Title == "" {
		p.Title = res.Status
	}
	text := visible(p.Title)
	if p.Detail != "" {
		text += ": " + visible(p.Detail)
	}
	switch res.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", errNotFound, text)
	case http.StatusUnauthorized, http.StatusForbidden:
		if c.stack != nil {
			return usage("the stack %s refuses the token (%s); put a new one of its identity provider into FLAVORLESS_TOKEN", c.stack.Name(), text)
		}
		return usage("the server refuses the token (%s); for a new one: eval \"$(flavorless env)\"", text)
	}
	return errors.New(text)
}

// nextPage gives the route that a Link header (RFC 8288) names with rel="next", in the one form that the API writes; none
// if there is none. The link has the path that precedes the routes in URLs, and the token goes to no other place.
func (c *connection) nextPage(res *http.Response) (string, error) {
	target, params, found := strings.Cut(strings.TrimPrefix(res.Header.Get("Link"), "<"), ">")
	if !found || !strings.Contains(params, `rel="next"`) {
		return "", nil
	}
	base, err := url.Parse(c.info.API)
	if err != nil {
		return "", err
	}
	next, err := res.Request.URL.Parse(target)
	if err != nil {
		return "", fmt.Errorf("reading the link to the next page: %w", err)
	}
	route, ok := strings.CutPrefix(next.RequestURI(), strings.TrimRight(base.EscapedPath(), "/"))
	if !ok || !strings.HasPrefix(route, "/") || next.Host != base.Host {
		return "", fmt.Errorf("the link to the next page, %s, leads out of %s", target, c.info.API)
	}
	return route, nil
}
