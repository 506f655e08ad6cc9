// Package config reads what a Lambda function is told by its environment: typed, checked once while it starts, and with
// everything that is wrong named at once, because a deployment that fails one variable at a time takes an hour to mend.
//
//	env := config.FromEnv(os.LookupEnv)
//	function, access, settings := env.Function("apply"), env.AWS(), env.Apply()
//	if err := env.Err(); err != nil { … }
//
// Secrets are Secret: nothing that formats or logs a configuration shows them.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
)

// ErrInvalid: variables are missing or malformed. The text names each, and says what belongs there.
var ErrInvalid = errors.New("bad configuration")

// Env reads variables and remembers what was wrong with them.
type Env struct {
	lookup   func(string) (string, bool)
	problems []string
}

// FromEnv reads from lookup, which is os.LookupEnv or like it.
func FromEnv(lookup func(string) (string, bool)) *Env { return &Env{lookup: lookup} }

// Err tells everything that was wrong with what was read so far; nil if nothing was.
func (e *Env) Err() error {
	if len(e.problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInvalid, strings.Join(e.problems, "; "))
}

func (e *Env) wrong(name, format string, args ...any) {
	problem := name + " " + fmt.Sprintf(format, args...)
	if !slices.Contains(e.problems, problem) {
		e.problems = append(e.problems, problem)
	}
}

// optional gives a variable; "" if it is not there.
func (e *Env) optional(name string) string {
	value, _ := e.lookup(name)
	return value
}

// text gives a variable that must be there.
func (e *Env) text(name string) string {
	value := e.optional(name)
	switch {
	case value == "":
		e.wrong(name, "is missing")
	case strings.TrimSpace(value) != value:
		e.wrong(name, "has white space around it")
	}
	return value
}

// arn gives a variable that names a resource of a service.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
func (e *Env) arn(name, service string) string {
	value := e.text(name)
	parts := strings.SplitN(value, ":", 6)
	if value != "" && (len(parts) != 6 || parts[0] != "arn" || parts[2] != service || parts[5] == "") {
		e.wrong(name, "is %q, which is not the ARN of something in %s", value, service)
	}
	return value
}

// url checks a URL of http or https, if there is one.
func (e *Env) url(name, value string) string {
	if value == "" {
		return ""
	}
	// The value is not shown: a URL may hold a password.
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		e.wrong(name, "is not an absolute URL")
	}
	return value
}

// Secret is text that must not be seen.
type Secret string

// Reveal gives the text itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string { return "[secret]" }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps it out of JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
