// Package config reads the configuration of a Lambda function from its environment. It validates all variables before
// it reports an error, so that one failed deployment shows everything that must be fixed.
//
//	env := config.FromEnv(os.LookupEnv)
//	function, settings := env.Function("apply"), env.Apply()
//	if err := env.Err(); err != nil { … }
//
// Secrets have the type Secret, which is never formatted, logged or encoded.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ErrInvalid means that variables are missing or malformed. The error names each of them and says how to fix it.
var ErrInvalid = errors.New("invalid environment variables")

// Env reads environment variables and collects the problems with them.
type Env struct {
	lookup   func(string) (string, bool)
	problems []string
}

// FromEnv returns an Env that reads with lookup, such as os.LookupEnv.
func FromEnv(lookup func(string) (string, bool)) *Env { return &Env{lookup: lookup} }

// Err returns an ErrInvalid with all problems of the variables that were read, or nil if there are none.
func (e *Env) Err() error {
	if len(e.problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInvalid, strings.Join(e.problems, "; "))
}

// problem records a problem with a variable, once.
func (e *Env) problem(name, format string, args ...any) {
	problem := name + " " + fmt.Sprintf(format, args...)
	if !slices.Contains(e.problems, problem) {
		e.problems = append(e.problems, problem)
	}
}

// optional returns a variable, or "" if it is not set.
func (e *Env) optional(name string) string {
	value, _ := e.lookup(name)
	return value
}

// text returns a variable that must be set.
func (e *Env) text(name string) string {
	value := e.optional(name)
	switch {
	case value == "":
		e.problem(name, "is not set")
	case strings.TrimSpace(value) != value:
		e.problem(name, "begins or ends with white space")
	}
	return value
}

// size returns a variable that must be a number of bytes.
func (e *Env) size(name string) int64 {
	value := e.text(name)
	n, err := strconv.ParseInt(value, 10, 64)
	if value != "" && (err != nil || n < 0) {
		e.problem(name, "is %q, which is not a number of bytes", value)
	}
	return n
}

// arn returns a variable that must be the ARN of a resource of a service.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
func (e *Env) arn(name, service string) string {
	value := e.text(name)
	parts := strings.SplitN(value, ":", 6)
	if value != "" && (len(parts) != 6 || parts[0] != "arn" || parts[2] != service || parts[5] == "") {
		e.problem(name, "is %q, which is not an ARN of the service %s", value, service)
	}
	return value
}

// url returns value, which must be empty or an absolute URL with http or https.
func (e *Env) url(name, value string) string {
	if value == "" {
		return ""
	}
	// The problem does not quote the value, because a URL can contain a password.
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		e.problem(name, "is not an absolute URL with http or https")
	}
	return value
}

// Secret is a string that must not be shown.
type Secret string

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string { return "[secret]" }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler. It keeps the secret out of JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
