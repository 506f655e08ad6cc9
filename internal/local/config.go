package local

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/webhook"
)

// Config of a Server. Dir and Log are required.
type Config struct {
	Dir  string // data folder; made if it is missing
	API  string // host:port of the read API; port 0 is any free one, and an empty address a free one of this machine
	S3   string // of the bucket
	NATS string // of the changes

	// Metrics is the host:port at which they are served at MetricsPath. Without one they are served next to the API, if that
	// listens on the loopback interface, and else not at all: they need no token.
	Metrics string

	// The identity provider whose tokens the API takes: all three or none. With none it takes those of a development
	// issuer that lives in the data folder.
	Issuer, Audience, JWKSURI string
	RequiredScope             string // may be empty

	// Origins are the web origins whose pages may use the read API and the bucket, such as https://flavors.example. None by default.
	Origins []string

	// ReadFor is how long a file is read, at least, before the rest of it is handed on as a message of its own; 10 seconds.
	// A crash in the middle of a long file costs so much reading, and no more.
	ReadFor time.Duration

	// Ignore holds the names of objects that are no uploads; events.DefaultIgnoreList if nil.
	Ignore events.IgnoreList

	Limits    Limits
	Retention Retention

	Webhooks     []string // URLs that changes are delivered to, which webhook.Check accepts; they may hold secrets
	WebhookTries int      // after which a change is a dead letter of its webhook; 12

	Clock func() time.Time // time.Now
	Log   *slog.Logger
}

// ErrConfig: the configuration makes no sense. The text says what to change.
var ErrConfig = errors.New("bad configuration")

// Names that do not depend on the data folder.
const (
	uploadsBucket = "flavorless-uploads"
	reportsBucket = "flavorless-reports"
	uploadsPrefix = "uploads/" // only keys that begin so are ingested
	// region names no place. AWS has always required Signature Version 4 in this region, so boto3 and the AWS command line sign URLs
	// with it; for us-east-1 they use version 2, which the bucket does not take.
	region   = "eu-central-1"
	audience = "flavorless" // of the development issuer's tokens
)

// IssuerDir is where the development issuer of a data folder lives.
func IssuerDir(dir string) string { return filepath.Join(dir, "issuer") }

func (c Config) checked() (Config, error) {
	given := 0
	for _, s := range []string{c.Issuer, c.Audience, c.JWKSURI} {
		if s != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return c, fmt.Errorf("%w: issuer, audience and JWKS URI go together; give all three, or none for the development issuer", ErrConfig)
	}
	for _, address := range []struct {
		name  string
		value *string
	}{{"API", &c.API}, {"S3", &c.S3}, {"NATS", &c.NATS}, {"metrics", &c.Metrics}} {
		if *address.value == "" && address.value == &c.Metrics {
			continue
		}
		if *address.value == "" {
			*address.value = "127.0.0.1:0"
		}
		host, port, err := net.SplitHostPort(*address.value)
		if err == nil {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil {
			return c, fmt.Errorf("%w: the %s address %q is not host:port, such as 127.0.0.1:8080: %w", ErrConfig, address.name, *address.value, err)
		}
		if host == "" { // loopback unless told
			*address.value = net.JoinHostPort("127.0.0.1", port)
		}
	}
	if c.ReadFor < 0 {
		return c, fmt.Errorf("%w: files can't be read for %s at a time", ErrConfig, c.ReadFor)
	}
	c.ReadFor = cmp.Or(c.ReadFor, readFor)
	if c.Ignore == nil {
		c.Ignore = events.DefaultIgnoreList()
	}
	if _, err := events.ParseIgnoreList(c.Ignore); err != nil {
		return c, fmt.Errorf("%w: ignored objects: %w", ErrConfig, err)
	}
	for _, origin := range c.Origins {
		if err := checkOrigin(origin); err != nil {
			return c, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	seen := map[string]bool{}
	for i, target := range c.Webhooks {
		if err := webhook.Check(target); err != nil {
			return c, fmt.Errorf("%w: webhook %d: %w", ErrConfig, i+1, err)
		}
		if seen[target] {
			return c, fmt.Errorf("%w: a webhook is given twice", ErrConfig)
		}
		seen[target] = true
	}
	if c.WebhookTries < 0 {
		return c, fmt.Errorf("%w: a webhook can't have %d tries", ErrConfig, c.WebhookTries)
	}
	c.WebhookTries = cmp.Or(c.WebhookTries, webhookTries)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Limits, c.Retention = c.Limits.withDefaults(), c.Retention.withDefaults()
	if err := errors.Join(c.Limits.check(), c.Retention.check()); err != nil {
		return c, err
	}
	return c, c.fitDescriptors()
}

// checkOrigin returns an error unless browsers send the origin exactly like this. A wildcard would let every page that a user
// of this machine visits use the server, so there is none.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || origin != u.Scheme+"://"+u.Host || !originHost.MatchString(u.Host) || !validPort(u.Port()) {
		return fmt.Errorf("%q is not a web origin; write it like https://flavors.example or http://localhost:5173, "+
			"without a path or a wildcard, and a name with other letters in Punycode (xn--…)", origin)
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil && lastLabelIsNumber(u.Hostname()) || ip != nil && ip.String() != u.Hostname() {
		return fmt.Errorf("browsers write the address in the origin %q in another way; write it like http://127.0.0.1:5173 or http://[::1]:5173", origin)
	}
	usual := strings.ToLower(origin)
	if port := map[string]string{"http": ":80", "https": ":443"}[strings.ToLower(u.Scheme)]; port != "" {
		usual = strings.TrimSuffix(usual, port)
	}
	if origin != usual {
		return fmt.Errorf("browsers write the origin %q as %q; write it like that", origin, usual)
	}
	return nil
}

// originHost is a host, of names in ASCII or an IPv6 address in brackets, with a port or without.
var originHost = regexp.MustCompile(`^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)(:[0-9]+)?$`)

// validPort reports whether a port is as browsers write it; "" is the one of the scheme.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// lastLabelIsNumber reports whether browsers take a host for an IPv4 address: https://url.spec.whatwg.org/#ends-in-a-number-checker
func lastLabelIsNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil || strings.Trim(last, "0123456789") == ""
}

func (c Config) development() bool { return c.Issuer == "" }

// reachable is a URL at which this machine reaches a server that listens on address.
func reachable(scheme, address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return scheme + "://" + address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
