package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/config"
)

func env(pairs ...string) *config.Env {
	variables := map[string]string{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		variables[name] = value
	}
	return config.FromEnv(func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	})
}

func TestAllProblems(t *testing.T) {
	e := env("LOG_LEVEL=loud", "AWS_REGION=eu-west-1", "AWS_SECRET_ACCESS_KEY=hush",
		"AWS_ENDPOINT_URL_SNS=https://user:hush@", "UPDATES_TOPIC_ARN=arn:aws:sqs:eu-west-1:1:t",
		"REPORTS_BUCKET= reports", "IGNORED_OBJECTS=*.tmp [a", "DEAD_LETTER_QUEUE_URL=dead", "SORT_FROM=1 MB")
	e.Function("ingest")
	e.Ingest()
	_, badPattern := events.ParseIgnoreList([]string{"[a"})
	want := "invalid environment variables: STAGE is not set; LOG_LEVEL is \"loud\"; use debug, info, warn or error; " +
		"AWS_ACCESS_KEY_ID is not set; AWS_ENDPOINT_URL_SNS is not an absolute URL with http or https; " +
		"UPDATES_TOPIC_ARN is \"arn:aws:sqs:eu-west-1:1:t\", which is not an ARN of the service sns; " +
		"UPLOADS_TABLE is not set; COMPARISONS_TABLE is not set; " +
		"REPORTS_BUCKET begins or ends with white space; DEAD_LETTER_QUEUE_URL is not an absolute URL with http or https; " +
		"IGNORED_OBJECTS has a bad pattern: " + badPattern.Error() + "; SORT_FROM is \"1 MB\", which is not a number of bytes"
	err := e.Err()
	if !errors.Is(err, config.ErrInvalid) {
		t.Fatalf("got %v, want config.ErrInvalid", err)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestEnv(t *testing.T) {
	const queue = "https://sqs.eu-west-1.amazonaws.com/1/dead"
	e := env("STAGE=dev", "LOG_LEVEL=debug", "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=hush",
		"AWS_SESSION_TOKEN=hush", "AWS_ENDPOINT_URL=http://localhost:1", "AWS_ENDPOINT_URL_DYNAMODB=http://localhost:2",
		"FAVORITES_TABLE=f", "UPLOADS_TABLE=u", "COMPARISONS_TABLE=c", "REPORTS_BUCKET=r",
		"DEAD_LETTER_QUEUE_URL="+queue,
		"CHANGES_TOPIC_ARN=arn:aws:sns:eu-west-1:1:changes", "BASE_PATH=/dev",
		"ALLOWED_ORIGIN=https://a.example, https://b.example:8443",
		"TOKEN_ISSUER=https://issuer.example/", "AUDIENCE=api", "JWKS_URI=https://issuer.example/keys")
	account := e.AWS()
	got := []any{
		e.Function("apply"), e.Apply(), e.Announce(), e.Favorites(), e.Uploads(), e.Authorizer(),
		account.Endpoint("SNS"), account.Endpoint("DYNAMODB"), account.Secret.Reveal(),
	}
	if err := e.Err(); err != nil {
		t.Fatal(err)
	}
	origins := []string{"https://a.example", "https://b.example:8443"}
	want := []any{
		config.Function{Name: "apply", Stage: "dev", Level: slog.LevelDebug},
		config.Apply{
			Account: account, FavoritesTable: "f", UploadsTable: "u", ComparisonsTable: "c", ReportsBucket: "r",
			DeadLetterQueue: queue,
		},
		config.Announce{Account: account, ChangesTopic: "arn:aws:sns:eu-west-1:1:changes", DeadLetterQueue: queue},
		config.Reader{Account: account, FavoritesTable: "f", BasePath: "/dev", AllowedOrigins: origins},
		config.Reader{Account: account, UploadsTable: "u", BasePath: "/dev", AllowedOrigins: origins},
		config.Authorizer{Issuer: "https://issuer.example/", Audience: "api", JWKSURI: "https://issuer.example/keys"},
		"http://localhost:1", "http://localhost:2", "hush",
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config.AWS{})); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestIgnoredObjects(t *testing.T) {
	for _, tt := range []struct {
		variables []string
		want      events.IgnoreList
	}{
		{nil, events.DefaultIgnoreList()},
		{[]string{"IGNORED_OBJECTS="}, events.IgnoreList{}},
		{[]string{"IGNORED_OBJECTS= *.tmp  _SUCCESS "}, events.IgnoreList{"*.tmp", "_SUCCESS"}},
	} {
		if got := env(tt.variables...).Ingest().Ignore; !slices.Equal(got, tt.want) {
			t.Errorf("Ignore of %q = %q, want %q", tt.variables, got, tt.want)
		}
	}
}

func TestInvalidReader(t *testing.T) {
	for _, bad := range []string{
		"BASE_PATH=prod", "BASE_PATH=/p?", "ALLOWED_ORIGIN=flavors.example", "ALLOWED_ORIGIN=https://a.example/",
		"ALLOWED_ORIGIN=*, x",
	} {
		t.Run(bad, func(t *testing.T) {
			e := env("AWS_REGION=r", "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=hush", "FAVORITES_TABLE=f", bad)
			e.Favorites()
			if e.Err() == nil {
				t.Error("Err() = nil, want an error")
			}
		})
	}
}

func TestSecret(t *testing.T) {
	e := env("AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=hush", "AWS_SESSION_TOKEN=hush")
	account := e.AWS()
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("configured", "aws", account, "secret", account.Secret)
	body, err := json.Marshal(account)
	if err != nil {
		t.Fatal(err)
	}
	formatted := fmt.Sprintf("%v %+v %#v %s %q", account, account, account, account.Secret, account.Secret)
	for _, s := range []string{logged.String(), string(body), formatted} {
		if strings.Contains(s, "hush") {
			t.Errorf("%s contains the secret", s)
		}
	}
}
