package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/events"
)

// TestStack reads and uploads through what a stack's outputs name: here these are a real API and a real bucket.
func TestStack(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	c := deployed(t, map[string]string{"ServiceEndpoint": p.info.API, "UploadsBucketName": p.info.Bucket})
	t.Setenv("AWS_ENDPOINT_URL_S3", p.info.S3)
	t.Setenv("AWS_ACCESS_KEY_ID", p.info.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", p.info.SecretKey)
	run := func(t *testing.T, args ...string) result {
		return command(t, "", append(args, "--stack", c.stack)...)
	}
	t.Run("without a token", func(t *testing.T) {
		got := run(t, "upload", writeFile(t, "a.csv", "person,flavor\nandy,vanilla\n"))
		if got.code != exitOK || !strings.Contains(got.out, "is uploaded as uploads/a.csv") || !strings.Contains(got.err, "FLAVORLESS_TOKEN") {
			t.Errorf("upload: %+v", got)
		}
		if u := p.settled("uploads/a.csv"); u.Status != events.Live || u.Counts.Applied != 1 {
			t.Errorf("became %+v", u)
		}
		for _, args := range [][]string{{"team"}, {"lookup", "andy"}, {"uploads"}} {
			if got := run(t, args...); got.code != exitUsage || !strings.Contains(got.err, "FLAVORLESS_TOKEN") {
				t.Errorf("%s: %+v", args[0], got)
			}
		}
	})
	t.Run("bad token", func(t *testing.T) {
		if got := run(t, "team", "--token", "nonsense"); got.code != exitUsage || !strings.Contains(got.err, "refuses the token") || !strings.Contains(got.err, c.stack) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("with a token", func(t *testing.T) {
		t.Setenv("FLAVORLESS_TOKEN", p.token)
		got := run(t, "upload", writeFile(t, "b.csv", "person,flavor\nandy,mint\nbill,\n"))
		if got.code != exitRejected || !strings.Contains(got.out, "1 applied, 0 superseded, 1 rejected") || got.err != "" {
			t.Errorf("upload: %+v", got)
		}
		if got := run(t, "team", "--json"); got.code != exitOK || got.out != "{\"andy\": \"mint\"}\n" {
			t.Errorf("team: %+v", got)
		}
		if got := run(t, "lookup", "andy"); got.code != exitOK || !strings.HasPrefix(got.out, "mint") {
			t.Errorf("lookup: %+v", got)
		}
		if got := run(t, "uploads"); got.code != exitOK || !strings.Contains(got.out, "uploads/a.csv") || !strings.Contains(got.out, "uploads/b.csv") {
			t.Errorf("uploads: %+v", got)
		}
	})
	t.Run("by the environment", func(t *testing.T) {
		t.Setenv("FLAVORLESS_STACK", c.stack)
		if got := command(t, "", "lookup", "andy", "--token", p.token); got.code != exitOK || !strings.HasPrefix(got.out, "mint") {
			t.Errorf("the stack: %+v", got)
		}
		if got := command(t, "", "lookup", "andy", "--data", filepath.Join(t.TempDir(), "none")); got.code != exitUsage {
			t.Errorf("a data folder that is named does not win: %+v", got)
		}
	})
}

func TestStackBadUsage(t *testing.T) {
	c := deployed(t, map[string]string{"ServiceEndpoint": ""})
	other := c.stack
	c.stack += "-whole"
	c.deploy(nil)
	tests := []struct {
		name string
		env  [2]string
		args []string
		want string
	}{
		{"no such stack", [2]string{}, []string{"team", "--stack", "nonsense"}, "there is no stack"},
		{"not a stack of ours", [2]string{}, []string{"team", "--stack", other}, "no output ServiceEndpoint"},
		{"no such stack to watch", [2]string{}, []string{"watch", "--stack", "nonsense"}, "there is no stack"},
		{"no such stack to redrive", [2]string{}, []string{"redrive", "--stack", "nonsense"}, "there is no stack"},
		{"no region", [2]string{"AWS_REGION", ""}, []string{"team", "--stack", c.stack}, "--region"},
		{"another region", [2]string{}, []string{"team", "--stack", c.stack, "--region", "eu-west-1"}, "in eu-west-1"},
		{"no credentials", [2]string{"AWS_ACCESS_KEY_ID", ""}, []string{"team", "--stack", c.stack}, "credentials"},
		{"no such profile", [2]string{}, []string{"team", "--stack", c.stack, "--profile", "nobody"}, "nobody"},
		{"nothing answers", [2]string{"AWS_ENDPOINT_URL", "http://127.0.0.1:1"}, []string{"team", "--stack", c.stack}, "looking up the stack"},
		{"two homes", [2]string{}, []string{"team", "--stack", c.stack, "--data", "x"}, "choose one"},
		{"profile without a stack", [2]string{}, []string{"team", "--profile", "work"}, "--stack"},
		{"unknown kind", [2]string{}, []string{"watch", "--kind", "eaten"}, "created, changed or removed"},
		{"no name", [2]string{}, []string{"watch", "--person", " "}, "--person is empty"},
		{"since on a stack", [2]string{}, []string{"watch", "--since", "1h", "--stack", c.stack}, "--since"},
		{"unknown queue", [2]string{}, []string{"redrive", "--stack", c.stack, "nonsense"}, "apply-dead, resume-dead"},
		{"all and one", [2]string{}, []string{"redrive", "--stack", c.stack, "--all", "apply-dead"}, "--all"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if name, value := test.env[0], test.env[1]; name != "" {
				t.Setenv(name, value)
			}
			t.Setenv("AWS_MAX_ATTEMPTS", "1")
			got := command(t, "", test.args...)
			if got.code != exitUsage || !strings.Contains(got.err, test.want) || strings.Count(got.err, "\n") != 1 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestNextPageBehindAPath: an API on AWS has its stage's path before the routes, and its links do, too.
func TestNextPageBehindAPath(t *testing.T) {
	link := `</dev/team?limit=10000&after=andy>; rel="next"`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != "/dev/team":
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Query().Get("after") == "":
			w.Header().Set("Link", link)
			fmt.Fprint(w, `{"andy": "mint"}`)
		default:
			fmt.Fprint(w, `{"bill": "lemon"}`)
		}
	}))
	defer server.Close()
	t.Setenv("FLAVORLESS_URL", server.URL+"/dev")
	t.Setenv("FLAVORLESS_TOKEN", "token")
	got := command(t, "", "team", "--json")
	var team map[string]string
	if err := json.Unmarshal([]byte(got.out), &team); err != nil {
		t.Fatalf("%+v: %v", got, err)
	}
	if diff := cmp.Diff(map[string]string{"andy": "mint", "bill": "lemon"}, team); diff != "" {
		t.Errorf("team (-want +got):\n%s", diff)
	}
	for _, link = range []string{`<https://elsewhere.invalid/dev/team>; rel="next"`, `</team?after=andy>; rel="next"`} {
		if got := command(t, "", "team"); got.code != exitFailed || !strings.Contains(got.err, "leads out of") {
			t.Errorf("%s: %+v", link, got)
		}
	}
}
