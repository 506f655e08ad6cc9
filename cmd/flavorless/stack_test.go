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

// TestStack uploads to and reads from a stack whose outputs name the API and the bucket of a local server.
func TestStack(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	c := deployStack(t, map[string]string{"ServiceEndpoint": p.info.API, "UploadsBucketName": p.info.Bucket})
	t.Setenv("AWS_ENDPOINT_URL_S3", p.info.S3)
	t.Setenv("AWS_ACCESS_KEY_ID", p.info.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", p.info.SecretKey)
	run := func(t *testing.T, args ...string) result {
		return command(t, "", append(args, "--stack", c.stack)...)
	}
	t.Run("without a token", func(t *testing.T) {
		got := run(t, "upload", writeFile(t, "a.csv", "person,flavor\nandy,vanilla\n"))
		if got.code != exitOK || !strings.Contains(got.out, "is uploaded as uploads/a.csv") ||
			!strings.Contains(got.err, "FLAVORLESS_TOKEN") {
			t.Errorf("upload = %+v, want exit code %d and a hint about FLAVORLESS_TOKEN", got, exitOK)
		}
		if u := p.settled("uploads/a.csv"); u.Status != events.Live || u.Counts.Applied != 1 {
			t.Errorf("upload = %+v, want it live with 1 applied row", u)
		}
		for _, args := range [][]string{{"team"}, {"lookup", "andy"}, {"uploads"}} {
			run(t, args...).wantErr(t, exitUsage, "FLAVORLESS_TOKEN")
		}
	})
	t.Run("bad token", func(t *testing.T) {
		run(t, "team", "--token", "nonsense").wantErr(t, exitUsage, c.stack, "FLAVORLESS_TOKEN")
	})
	t.Run("with a token", func(t *testing.T) {
		t.Setenv("FLAVORLESS_TOKEN", p.token)
		got := run(t, "upload", writeFile(t, "b.csv", "person,flavor\nandy,mint\nbill,\n"))
		if got.code != exitRejected ||
			!strings.Contains(got.out, "1 applied, 0 unchanged, 0 superseded, 1 rejected") || got.err != "" {
			t.Errorf("upload = %+v, want exit code %d and the counts of rows", got, exitRejected)
		}
		if got := run(t, "team", "--json"); got.code != exitOK || got.out != "{\"andy\": \"mint\"}\n" {
			t.Errorf("team = %+v, want andy with mint", got)
		}
		if got := run(t, "lookup", "andy"); got.code != exitOK || !strings.HasPrefix(got.out, "mint") {
			t.Errorf("lookup = %+v, want mint", got)
		}
		run(t, "uploads").wantOut(t, exitOK, "uploads/a.csv", "uploads/b.csv")
	})
	t.Run("by the environment", func(t *testing.T) {
		t.Setenv("FLAVORLESS_STACK", c.stack)
		if got := command(t, "", "lookup", "andy", "--token", p.token); got.code != exitOK ||
			!strings.HasPrefix(got.out, "mint") {
			t.Errorf("lookup with FLAVORLESS_STACK = %+v, want mint", got)
		}
		if got := command(t, "", "lookup", "andy", "--data", filepath.Join(t.TempDir(), "none")); got.code != exitUsage {
			t.Errorf("lookup with --data and FLAVORLESS_STACK = %+v, want exit code %d", got, exitUsage)
		}
	})
}

func TestStackBadUsage(t *testing.T) {
	c := deployStack(t, map[string]string{"ServiceEndpoint": ""})
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
		{"nothing answers", [2]string{"AWS_ENDPOINT_URL", "http://127.0.0.1:1"}, []string{"team", "--stack", c.stack},
			"looking up the stack"},
		{"stack and data folder", [2]string{}, []string{"team", "--stack", c.stack, "--data", "x"}, "--data x"},
		{"profile without a stack", [2]string{}, []string{"team", "--profile", "work"}, "--stack"},
		{"unknown kind", [2]string{}, []string{"watch", "--kind", "eaten"}, "--kind"},
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
				t.Errorf("got %+v, want exit code %d and one line with %q", got, exitUsage, test.want)
			}
		})
	}
}

// TestNextPageBehindAPath: on AWS, URLs and links have the path of the stage before the route.
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
		t.Fatalf("team --json = %+v (%v), want JSON", got, err)
	}
	if diff := cmp.Diff(map[string]string{"andy": "mint", "bill": "lemon"}, team); diff != "" {
		t.Errorf("team (-want +got):\n%s", diff)
	}
	for _, link = range []string{`<https://elsewhere.invalid/dev/team>; rel="next"`, `</team?after=andy>; rel="next"`} {
		command(t, "", "team").wantErr(t, exitFailed, server.URL)
	}
}
