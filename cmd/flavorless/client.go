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

// connection is a connection to a server on this machine or to a deployed stack.
type connection struct {
	info  local.Info // for a stack, only API and Bucket are set
	token string
	http  *http.Client
	stack *stack.Stack // nil for a server on this machine
	flags string       // after a space, with which another command finds the same server or stack; may be empty
}

// clientFlags are the flags of the commands that talk to a server or a stack.
type clientFlags struct {
	data                          dataDir
	token, stack, profile, region string
}

// add adds the flags to a command that reads from the API.
func (f *clientFlags) add(c *cobra.Command) {
	f.addTarget(c)
	c.Flags().StringVar(&f.token, "token", "",
		"use this bearer token for the API (default: a new one if the server's data folder has a development issuer, "+
			"otherwise FLAVORLESS_TOKEN)")
}

// addTarget adds the flags that choose the server or the stack.
func (f *clientFlags) addTarget(c *cobra.Command) {
	f.data.path = defaultDir
	flags := c.Flags()
	flags.Var(&f.data, "data", "data folder of the server")
	flags.StringVar(&f.stack, "stack", "",
		"use this deployed stack, such as flavorless-dev, instead of a server on this machine (default: FLAVORLESS_STACK)")
	flags.StringVar(&f.profile, "profile", "",
		"with --stack: use this profile of the shared AWS configuration (default: AWS_PROFILE)")
	flags.StringVar(&f.region, "region", "", "with --stack: use this AWS region (default: AWS_REGION, or the profile's)")
}

// locate returns a connection to the server or the stack, without a token of the development issuer. The flags --stack
// and --data win over the environment, which wins over the default folder.
func (f clientFlags) locate(ctx context.Context) (*connection, error) {
	c := &connection{
		http: &http.Client{Timeout: 30 * time.Second}, token: cmp.Or(f.token, os.Getenv("FLAVORLESS_TOKEN")),
		flags: f.targetFlags(),
	}
	if f.stack != "" && f.data.given {
		return nil, usage("--stack %s is on AWS and --data %s is on this machine; give only one of them",
			shellWord(f.stack), shellWord(f.data.path))
	}
	if name := f.stackName(); name != "" {
		return c, c.open(ctx, stack.Config{Name: name, Profile: f.profile, Region: f.region})
	}
	if f.profile != "" || f.region != "" {
		return nil, usage("--profile and --region need a deployed stack; name it with --stack")
	}
	if env := os.Getenv("FLAVORLESS_URL"); env != "" && !f.data.given {
		c.info = local.Info{
			API: strings.TrimRight(env, "/"), S3: os.Getenv("AWS_ENDPOINT_URL_S3"), Bucket: os.Getenv("FLAVORLESS_BUCKET"),
			Region:    cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"),
			AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"),
			NATS: os.Getenv("FLAVORLESS_NATS_URL"),
		}
		return c, nil
	}
	var err error
	c.info, err = readInfo(f.data.path)
	return c, err
}

// stackName returns the name of the deployed stack to use, or "" for a server on this machine.
func (f clientFlags) stackName() string {
	if f.stack == "" && !f.data.given {
		return os.Getenv("FLAVORLESS_STACK")
	}
	return f.stack
}

// targetFlags returns the flags, after a space, with which another command finds the same server or stack.
func (f clientFlags) targetFlags() string {
	switch {
	case f.stackName() != "":
		return " --stack " + shellWord(f.stackName())
	case f.data.given:
		return " --data " + shellWord(f.data.path)
	}
	return ""
}

// open looks up a deployed stack.
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

// connect returns a connection to the server or the stack with a token for its API.
func (f clientFlags) connect(ctx context.Context) (*connection, error) {
	c, err := f.locate(ctx)
	if err != nil || c.stack != nil || c.info.PID == 0 { // only a data folder says which issuer the server has
		return c, err
	}
	if c.info.Development && f.token == "" {
		c.token, err = developmentToken(f.data.path, issuer.Grant{
			Subject: "cli", Audience: c.info.Audience, Scope: c.info.Scope, TTL: time.Hour,
		})
	} else if c.token == "" {
		err = usage("the server accepts only tokens of its identity provider; get one there, and set FLAVORLESS_TOKEN to it")
	}
	return c, err
}

func readInfo(dir string) (local.Info, error) {
	info, err := local.ReadInfo(dir)
	if errors.Is(err, local.ErrNotRunning) {
		return info, usage("%w; start one with: flavorless serve --data %s", err, shellWord(dir))
	}
	if err != nil {
		return info, usage("%w", err)
	}
	return info, nil
}

// developmentToken returns a token of the development issuer of a data folder.
func developmentToken(dir string, grant issuer.Grant) (string, error) {
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(dir)})
	if err != nil {
		return "", usage("opening the development issuer of %s: %w", dir, err)
	}
	return is.Sign(grant)
}

// errNotFound is the API's 404.
var errNotFound = errors.New("not found")

// get decodes the answer of a route of the API into v. It returns the route of the next page, or "" at the last page.
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

// While the API answers 503 with a Retry-After header, a route is requested up to maxTries times. A wait is at most
// maxRetryAfter, even if the header asks for a longer one.
const (
	maxTries      = 4
	maxRetryAfter = 10 * time.Second
)

func (c *connection) do(ctx context.Context, route string) (*http.Response, error) {
	for tries := 1; ; tries++ {
		res, err := c.request(ctx, route)
		if err != nil || res.StatusCode != http.StatusServiceUnavailable || tries == maxTries {
			return res, err
		}
		seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16)
		if err != nil {
			return res, nil //nolint:nilerr // without a number of seconds, the 503 is the final answer
		}
		res.Body.Close()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(time.Duration(seconds)*time.Second, maxRetryAfter)):
		}
	}
}

func (c *connection) request(ctx context.Context, route string) (*http.Response, error) {
	if c.stack != nil && c.token == "" {
		return nil, usage("reading from the stack %s needs a token of its identity provider; set FLAVORLESS_TOKEN to one",
			c.stack.Name())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.info.API+route, nil)
	if err != nil {
		return nil, usage("the URL of the API is not valid: %w; correct FLAVORLESS_URL", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := c.http.Do(req)
	var failed *url.Error
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, errStopped
	case errors.As(err, &failed):
		return nil, c.unreachable(c.info.API, failed.Err)
	}
	return res, err
}

// unreachable returns the error of a server or stack that does not answer.
func (c *connection) unreachable(address string, err error) error {
	if c.stack != nil {
		return usage("connecting to %s: %w; check your network connection", address, err)
	}
	return usage("connecting to %s: %w; check that the server is running, or start it with: flavorless serve%s",
		address, err, c.flags)
}

// raw returns the status and the body of the answer of a route.
func (c *connection) raw(ctx context.Context, route string) (status, body string, err error) {
	res, err := c.do(ctx, route)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.Status, string(b), err
}

// problem converts a problem document (RFC 9457) to an error.
func (c *connection) problem(res *http.Response) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if json.Unmarshal(body, &p) != nil || p.Title == "" {
		p.Title = res.Status
	}
	text := printable(p.Title)
	if p.Detail != "" {
		text += ": " + printable(p.Detail)
	}
	switch res.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", errNotFound, text)
	case http.StatusUnauthorized, http.StatusForbidden:
		if c.stack != nil {
			return usage("the stack %s refuses the token (%s); "+
				"get a new one from its identity provider, and set FLAVORLESS_TOKEN to it",
				c.stack.Name(), text)
		}
		return usage("the server refuses the token (%s); get a new one with: eval \"$(flavorless env%s)\"", text, c.flags)
	}
	return fmt.Errorf("the API answers: %s", text)
}

// nextPage returns the route that a Link header (RFC 8288) names with rel="next", in the one form that the API writes,
// or "" if there is none. A link to another server, or outside of the API's base path, is an error: it must not get the
// token.
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
		return "", fmt.Errorf("the link to the next page, %s, is not below %s", target, c.info.API)
	}
	return route, nil
}
