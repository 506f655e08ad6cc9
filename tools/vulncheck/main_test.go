package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("needs sh")
	}
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/index/db.json":
		case "/hangs/index/db.json":
			<-release
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	defer close(release)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()

	const done = "the check ran\n"
	for name, test := range map[string]struct {
		database, install, check string
		out, err                 string
	}{
		"no findings": {server.URL, "exit 0", "echo the check ran", done, ""},
		"findings": {
			server.URL, "exit 0", "echo the check ran; exit 3", done, "govulncheck found vulnerabilities",
		},
		"broken": {
			server.URL, "exit 0", "echo the check ran; exit 1", done, "running govulncheck: exit status 1",
		},
		"nothing listens": {closed.URL, "exit 0", "exit 3", unreachable + "\n", ""},
		"an error page":   {server.URL + "/other", "exit 0", "exit 3", unreachable + "\n", ""},
		"no answer":       {server.URL + "/hangs", "exit 0", "exit 3", unreachable + "\n", ""},
		"lost after a moment": {
			server.URL, "exit 0", "echo govulncheck: fetching vulnerabilities: EOF >&2; exit 1", unreachable + "\n", "",
		},
		"not installed": {
			server.URL, "echo no proxy; exit 2", "exit 3",
			"no proxy\nvulncheck: not run: govulncheck can't be installed: exit status 2\n", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := config{
				database: test.database, reachWithin: 5 * time.Second, installWithin: time.Minute,
				install: []string{"sh", "-c", test.install}, check: []string{"sh", "-c", test.check},
			}
			if name == "no answer" {
				c.reachWithin = 50 * time.Millisecond
			}
			var out bytes.Buffer
			err := c.run(t.Context(), &out)
			if got := out.String(); !strings.HasSuffix(got, test.out) {
				t.Errorf("run printed %q, want %q at its end", got, test.out)
			}
			if got := errorText(err); got != test.err {
				t.Errorf("run = %q, want %q", got, test.err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
