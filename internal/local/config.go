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
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/local/retention"
	"github.com/flavorless/flavorless/internal/webhook"
)

// Config configures a [Server]. Dir and Log are required.
type Config struct {
	Dir string // data folder; created if it is missing

	// Addresses as host:port, of the API, the bucket, and the changes over NATS. Port 0 is any free port; an empty address
	// is a free port on the loopback interface.
	API, S3, NATS string

	// Metrics is the host:port at which metrics are served at MetricsPath. If it is empty, they are served next to the API
	// if that is on the loopback interface, and otherwise not at all, because they need no token.
	Metrics string

	// The identity provider whose tokens the API accepts: all three or none. With none it accepts those of a development
	// issuer whose key is in the data folder.
	Issuer, Audience, JWKSURI string
	RequiredScope             string // may be empty

	// Origins are the web origins whose pages may use the API and the bucket, such as https://flavors.example; none by
	// default.
	Origins []string

	// ReadFor is how long a file is read, at least, before the rest of it is queued as a continuation; DefaultReadFor if
	// 0. A crash in the middle of a long file repeats that much reading, and no more.
	ReadFor time.Duration

	// SortFrom is the size in bytes from which on files are sorted and compared with the table; ingest.DefaultSortFrom if
	// 0, and never if it is negative.
	SortFrom int64

	// Ignore holds the names of objects that are not uploads; events.DefaultIgnoreList if nil.
	Ignore events.IgnoreList

	Limits    Limits
	Retention retention.Policy

	Webhooks     []string // URLs that changes are delivered to, as webhook.Check accepts them; they may contain secrets
	WebhookTries int      // deliveries after which a change is a dead letter of its webhook; DefaultWebhookTries if 0

	Clock func() time.Time // time.Now if nil
	Log   *slog.Logger
}

// ErrConfig means that the configuration is invalid. The text of such an error names the flag of flavorless serve and
// says what to change.
var ErrConfig = errors.New("bad configuration")

// configError is an ErrConfig with the text of another error.
type configError struct{ error }

func (e configError) Is(target error) bool { return target == ErrConfig }
func (e configError) Unwrap() error        { return e.error }

// Names that do not depend on the data folder.
const (
	uploadsBucket = "flavorless-uploads"
	reportsBucket = "flavorless-reports"
	uploadsPrefix = "uploads/" // of the keys that are ingested
	// AWS has always required Signature Version 4 in this region, so boto3 and the AWS command line sign URLs with it; for
	// us-east-1 they use version 2, which the bucket does not accept.
	region              = "eu-central-1"
	developmentAudience = "flavorless" // of tokens from the development issuer
)

// IssuerDir returns the folder of the development issuer in a data folder.
func IssuerDir(dir string) string { return filepath.Join(dir, "issuer") }

// checked returns the configuration with defaults for zero values. Its errors are ErrConfig.
func (c Config) checked() (Config, error) {
	c, err := c.complete()
	if err == nil {
		err = c.fitDescriptors()
	}
	if err != nil {
		return c, configError{err}
	}
	return c, nil
}

func (c Config) complete() (Config, error) {
	given := 0
	for _, s := range []string{c.Issuer, c.Audience, c.JWKSURI} {
		if s != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return c, errors.New("--issuer, --audience and --jwks-uri belong together; " +
			"give all three, or none for the development issuer")
	}
	for _, address := range []struct {
		flag  string
		value *string
	}{{"--api", &c.API}, {"--s3", &c.S3}, {"--nats", &c.NATS}, {"--metrics", &c.Metrics}} {
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
			return c, fmt.Errorf("%s %q is not host:port, as in 127.0.0.1:8080: %w", address.flag, *address.value, err)
		}
		if host == "" {
			*address.value = net.JoinHostPort("127.0.0.1", port)
		}
	}
	if c.ReadFor = cmp.Or(c.ReadFor, DefaultReadFor); c.ReadFor < time.Millisecond {
		return c, errors.New("--read-for must be at least 1ms")
	}
	c.SortFrom = max(cmp.Or(c.SortFrom, ingest.DefaultSortFrom), 0)
	if c.Ignore == nil {
		c.Ignore = events.DefaultIgnoreList()
	}
	if _, err := events.ParseIgnoreList(c.Ignore); err != nil {
		return c, fmt.Errorf("--ignore: %w", err)
	}
	for _, origin := range c.Origins {
		if err := checkOrigin(origin); err != nil {
			return c, fmt.Errorf("--cors-origin: %w", err)
		}
	}
	seen := map[string]int{}
	for i, target := range c.Webhooks {
		if err := webhook.Check(target); err != nil {
			return c, fmt.Errorf("webhook %d: %w", i+1, err)
		}
		if n, ok := seen[target]; ok {
			return c, fmt.Errorf("webhooks %d and %d are the same; remove one", n+1, i+1)
		}
		seen[target] = i
	}
	if c.WebhookTries = cmp.Or(c.WebhookTries, DefaultWebhookTries); c.WebhookTries < 1 {
		return c, errors.New("--webhook-tries must be at least 1")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Limits, c.Retention = c.Limits.withDefaults(), c.Retention.WithDefaults()
	if err := c.Limits.check(); err != nil {
		return c, err
	}
	return c, c.Retention.Check()
}

// checkOrigin returns an error unless browsers send the origin exactly like this. Wildcards are not allowed, because
// every page that a user of this machine visits could use the server.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || origin != u.Scheme+"://"+u.Host ||
		!originHost.MatchString(u.Host) || !validPort(u.Port()) {
		return fmt.Errorf("%q is not a web origin; write it like https://flavors.example or http://localhost:5173, "+
			"without a path or a wildcard, and a name with other letters in Punycode (xn--…)", origin)
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); ip == nil && lastLabelIsNumber(host) || ip != nil && ip.String() != host {
		return fmt.Errorf("browsers write the address in the origin %q differently; "+
			"write it like http://127.0.0.1:5173 or http://[::1]:5173", origin)
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

// originHost matches a host name in ASCII or an IPv6 address in brackets, with or without a port.
var originHost = regexp.MustCompile(`^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)(:[0-9]+)?$`)

// validPort reports whether browsers write a port like this. It is empty for the default port of the scheme.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// lastLabelIsNumber reports whether browsers parse a host as an IPv4 address.
// https://url.spec.whatwg.org/#ends-in-a-number-checker
func lastLabelIsNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil || strings.Trim(last, "0123456789") == ""
}

func (c Config) development() bool { return c.Issuer == "" }

// reachable returns a URL at which this machine reaches a server that listens on address.
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
