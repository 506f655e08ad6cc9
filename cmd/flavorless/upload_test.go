package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
)

func TestUpload(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	run := func(t *testing.T, args ...string) result {
		return command(t, "", append(args, "--data", p.dir)...)
	}
	tests := []struct {
		name, file, text string
		args             []string
		code             int
		want             []string // parts of the output
	}{
		{"live", "a.csv", "person,flavor\nandy,vanilla\n", nil, exitOK,
			[]string{"live after", "1 row: 1 applied, 0 unchanged, 0 superseded, 0 rejected"}},
		{"live with rejects", "b.csv", "person,flavor\nandy,mint\nbill,\n", nil, exitRejected,
			[]string{"1 applied, 0 unchanged, 0 superseded, 1 rejected", "missing_flavor", "bill,", "remove the person"}},
		{"failed", "c.json", `{"andy": "fudge", "bill"`, nil, exitFailed,
			[]string{"failed", "malformed_json", "line 1", "1 applied"}},
		{"all or nothing", "d.csv", "person,flavor\nandy,lemon\nbill,\n", []string{"--on-error-abort"}, exitFailed,
			[]string{"aborted", "0 applied", "2 rejected"}},
		{"empty", "e.csv", "", nil, exitOK, []string{"0 rows: 0 applied"}},
		{"JSON", "f.csv", "person,flavor\nzoë,vanilla\n", []string{"--json"}, exitOK,
			[]string{`"status":"live"`, `"applied":1`}},
		{"detached", "g.csv", "person,flavor\nzoë,mint\n", []string{"--detach"}, exitOK,
			[]string{"is uploaded as uploads/g.csv"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, append([]string{"upload", writeFile(t, test.file, test.text)}, test.args...)...)
			if got.code != test.code || got.err != "" {
				t.Errorf("exit code = %d, want %d; stderr = %q, want none", got.code, test.code, got.err)
			}
			for _, want := range test.want {
				if !strings.Contains(got.out, want) {
					t.Errorf("the output lacks %q:\n%s", want, got.out)
				}
			}
			p.settled("uploads/" + test.file)
		})
	}

	t.Run("the same file twice is two uploads", func(t *testing.T) {
		file := writeFile(t, "twice.csv", "person,flavor\nann,vanilla\n")
		var ids [2]string
		for i := range ids {
			var u events.Upload
			if got := run(t, "upload", "--json", file); got.code != exitOK || json.Unmarshal([]byte(got.out), &u) != nil {
				t.Fatalf("upload --json = %+v, want exit code %d and JSON", got, exitOK)
			}
			ids[i] = u.ID
		}
		if ids[0] == ids[1] {
			t.Errorf("ids of two uploads = %q, want different ones", ids)
		}
	})
	t.Run("team", func(t *testing.T) {
		var team map[string]string
		got := run(t, "team", "--json")
		if got.code != exitOK || json.Unmarshal([]byte(got.out), &team) != nil {
			t.Fatalf("team --json = %+v, want exit code %d and JSON", got, exitOK)
		}
		if team["andy"] != "fudge" || team["zoë"] != "mint" || len(team) != 3 {
			t.Errorf("team = %v, want 3 people, andy with fudge and zoë with mint", team)
		}
	})
	t.Run("lookup", func(t *testing.T) {
		id := p.settled("uploads/c.json").ID
		run(t, "lookup", "andy").wantOut(t, exitOK, "fudge  since 20", ", set by uploads/c.json (upload "+id+")")
		run(t, "lookup", "andy", "--json").wantOut(t, exitOK, `"upload":"`+id+`"`)
		run(t, "lookup", "nobody").wantErr(t, exitFailed, "nobody")
	})
	t.Run("uploads", func(t *testing.T) {
		got := run(t, "uploads")
		if got.code != exitOK || !strings.Contains(got.out, "uploads/b.csv") || !strings.Contains(got.out, "failed") {
			t.Errorf("%+v", got)
		}
		id := p.settled("uploads/b.csv").ID
		run(t, "uploads", id).wantOut(t, exitOK, "missing_flavor", "rejects.ndjson")
		if got := run(t, "uploads", "nonsense"); got.code == exitOK {
			t.Errorf("%+v", got)
		}
	})
	t.Run("every rejected row", func(t *testing.T) {
		const rows = 2*rejectsPerTable + 1
		file := writeFile(t, "rejects.csv", "person,flavor\n"+strings.Repeat("bill,\n", rows))
		run(t, "upload", file).wantOut(t, exitRejected, "… and 1,901 more")
		id := p.settled("uploads/rejects.csv").ID
		for _, test := range []struct{ args, each string }{{"--rejects", "missing_flavor"}, {"--rejects --json", `"line":`}} {
			got := run(t, append([]string{"uploads", id}, strings.Fields(test.args)...)...)
			if n := strings.Count(got.out, test.each); got.code != exitOK || n != rows {
				t.Errorf("uploads %s prints %d rows, want %d; exit code %d, stderr %q", test.args, n, rows, got.code, got.err)
			}
		}
		if got := run(t, "uploads", p.settled("uploads/a.csv").ID, "--rejects"); got.code != exitOK || got.out != "" ||
			!strings.Contains(got.err, "no row") {
			t.Errorf("%+v", got)
		}
		run(t, "uploads", "--rejects").wantErr(t, exitUsage, "uploads ID --rejects")
	})
	t.Run("rejected rows beyond the report", func(t *testing.T) {
		const rows = 30_000
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := io.WriteString(w, "person,flavor\n"+strings.Repeat("x,\n", rows)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := run(t, "upload", writeFile(t, "bomb.csv.gz", packed.String())); got.code != exitRejected {
			t.Errorf("%+v", got)
		}
		id := p.settled("uploads/bomb.csv.gz").ID
		for _, test := range []struct{ args, each string }{{"--rejects", "missing_flavor"}, {"--rejects --json", `"line":`}} {
			got := run(t, append([]string{"uploads", id}, strings.Fields(test.args)...)...)
			shown := strings.Count(got.out, test.each)
			want := fmt.Sprintf("flavorless: %s more rejected rows are not in the report, ", number(int64(rows-shown)))
			if got.code != exitOK || shown == 0 || shown == rows || !strings.HasPrefix(got.err, want) {
				t.Errorf("%s: %d of %d rows, exit code %d, stderr %q, want %q", test.args, shown, rows, got.code, got.err, want)
			}
		}
	})
	t.Run("rejects in the reports bucket", func(t *testing.T) {
		id := p.settled("uploads/b.csv").ID
		out, err := p.s3().GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(p.info.ReportsBucket),
			Key: aws.String(id + "/rejects.ndjson")})
		if err != nil {
			t.Fatal(err)
		}
		var r events.Reject
		if err := json.NewDecoder(out.Body).Decode(&r); err != nil || r.Code != events.MissingFlavor || r.Line != 3 ||
			r.Column != 6 || r.Offset != 24 {
			t.Errorf("first line of the report = %+v (%v), want missing_flavor at line 3, column 6, offset 24", r, err)
		}
	})
	t.Run("token", func(t *testing.T) {
		for ttl, want := range map[string]int{"1h": http.StatusOK, "0s": 0} {
			got := run(t, "token", "--ttl", ttl)
			if want == 0 {
				if got.code != exitUsage {
					t.Errorf("token --ttl %s = %+v, want exit code %d", ttl, got, exitUsage)
				}
				continue
			}
			p.token = strings.TrimSpace(got.out)
			if status, _, err := p.raw(t.Context(), "/team"); err != nil || !strings.HasPrefix(status, "200") {
				t.Errorf("status with a token of %s = %s (%v), want 200", ttl, status, err)
			}
		}
	})
	t.Run("env", func(t *testing.T) {
		sh := exec.CommandContext(t.Context(), "sh", "-c", `eval "$("$0" env --data "$1")" && "$0" team --json`, os.Args[0],
			p.dir)
		sh.Env = append(os.Environ(), asProgram+"=1")
		out, err := sh.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"andy": "fudge"`) {
			t.Errorf("team after eval of env = %s (%v), want andy with fudge", out, err)
		}
	})
	t.Run("env replaces another account", func(t *testing.T) {
		sh := exec.CommandContext(t.Context(), "sh", "-c", `eval "$("$0" env --data "$1")" && env`, os.Args[0], p.dir)
		sh.Env = append(os.Environ(), asProgram+"=1", "AWS_REGION=us-west-2", "AWS_DEFAULT_REGION=us-west-2",
			"AWS_SESSION_TOKEN=other",
			"AWS_PROFILE=other", "AWS_DEFAULT_PROFILE=other", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true")
		out, err := sh.CombinedOutput()
		if err != nil {
			t.Fatalf("eval of env = %v, want success; output %s", err, out)
		}
		vars := map[string]string{}
		for line := range strings.Lines(string(out)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			vars[name] = value
		}
		// us-east-1 would make boto3 and the AWS command line sign URLs with Signature Version 2.
		if region := vars["AWS_REGION"]; region == "" || region == "us-east-1" || region == "us-west-2" ||
			vars["AWS_DEFAULT_REGION"] != region {
			t.Errorf("AWS_REGION = %q, AWS_DEFAULT_REGION = %q; want the same region, but neither us-east-1 nor us-west-2",
				region, vars["AWS_DEFAULT_REGION"])
		}
		for _, name := range []string{"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
			"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"} {
			if value, ok := vars[name]; ok {
				t.Errorf("%s = %q, want it unset", name, value)
			}
		}
	})
}
