package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/events"
)

// asProgram makes the test binary behave as the program itself, so that tests can start it, and kill it.
const asProgram = "FLAVORLESS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	for _, v := range []string{"FLAVORLESS_URL", "FLAVORLESS_TOKEN", "AWS_CA_BUNDLE"} {
		os.Unsetenv(v)
	}
	os.Exit(m.Run())
}

// result is what one run of the program left.
type result struct {
	code     int
	out, err string
}

// command runs a command line in this process.
func command(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, stderr bytes.Buffer
	code := run(t.Context(), args, &terminal{in: strings.NewReader(stdin), out: &out, err: &stderr})
	return result{code, out.String(), stderr.String()}
}

// process is a server in a process of its own.
type process struct {
	*exec.Cmd
	*connection
	t   *testing.T
	dir string
}

// startServe starts serve on a data folder and free ports, and returns once it is ready.
func startServe(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir}
	p.Cmd = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], append([]string{
		"serve", "--data", dir, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, args...)...)
	p.Env = append(os.Environ(), asProgram+"=1")
	var log bytes.Buffer
	p.Stderr = &log
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "flavorless is ready") {
			go io.Copy(io.Discard, out) //nolint:errcheck // only to keep it from blocking
			if p.connection, err = (clientFlags{dir}).connect(true); err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	p.kill()
	t.Fatalf("serve did not become ready:\n%s", log.String())
	return nil
}

// kill ends the process as a crash does: at once.
func (p *process) kill() {
	if p.ProcessState == nil {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

// stopped asks the process to end, and gives its exit code.
func (p *process) stopped() int {
	p.t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	var failed *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &failed) {
		p.t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func (p *process) put(key, text string) {
	p.t.Helper()
	_, err := p.s3().PutObject(p.t.Context(), &s3.PutObjectInput{Bucket: aws.String(p.info.Bucket), Key: aws.String(key), Body: strings.NewReader(text)})
	if err != nil {
		p.t.Fatal(err)
	}
}

// settled waits until the newest upload of a key has its end, and makes sure that its rows add up.
func (p *process) settled(key string) events.Upload {
	p.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		uploads, err := p.recent(p.t.Context(), 500)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, u := range uploads {
			if u.Key != key {
				continue
			}
			if !u.Status.Settled() {
				break
			}
			if c := u.Counts; c.Applied+c.Superseded+c.Rejected != c.Rows {
				p.t.Fatalf("the rows of %s do not add up: %+v", key, c)
			}
			return u
		}
		time.Sleep(10 * time.Millisecond) // between two looks; the condition is the ledger's
	}
	p.t.Fatalf("%s is not settled after a minute", key)
	return events.Upload{}
}

func (p *process) team() map[string]string {
	p.t.Helper()
	team := map[string]string{}
	if _, err := p.get(p.t.Context(), "/team", &team); err != nil {
		p.t.Fatal(err)
	}
	return team
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	got := command(t, "", "demo")
	if got.code != exitOK || got.err != "" {
		t.Fatalf("exit code %d, stderr %q", got.code, got.err)
	}
	for _, want := range []string{
		"8 rows: 8 applied, 0 superseded, 0 rejected",
		"4 rows: 3 applied, 0 superseded, 1 rejected",
		"not_a_string",
		"created  andy: cookie dough",
		"changed  andy: rocky road, no longer cookie dough",
		"removed  shane, whose favorite was rocky road",
		"created  zoë: stracciatella",
		`"flavor":"rocky road"`,
		"404 Not Found",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("the story lacks %q:\n%s", want, got.out)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestRestart is acceptance 6 of the spine: a server that is started again on its data folder goes on where it was.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServe(t, dir)
	p.put("uploads/a.csv", "person,flavor\nandy,vanilla\nbill,\n")
	before := p.settled("uploads/a.csv")
	token, info := p.token, p.info
	if code := p.stopped(); code != exitOK {
		t.Fatalf("SIGTERM: exit code %d", code)
	}
	if got := command(t, "", "team", "--data", dir); got.code != exitUsage || !strings.Contains(got.err, "no server is running") {
		t.Errorf("team without a server: %+v", got)
	}

	p = startServe(t, dir)
	if p.info.AccessKey != info.AccessKey || p.info.SecretKey != info.SecretKey || p.info.NATSPassword != info.NATSPassword {
		t.Error("the credentials are others now")
	}
	p.token = token
	if got := p.team(); len(got) != 1 || got["andy"] != "vanilla" {
		t.Errorf("team = %v", got)
	}
	after := p.settled("uploads/a.csv")
	if before.ID != after.ID || !before.Settled.Equal(after.Settled) {
		t.Errorf("the upload was %+v, and is %+v", before, after)
	}
	uploads, err := p.recent(t.Context(), 10)
	if err != nil || len(uploads) != 1 {
		t.Errorf("%d uploads, %v; it was not to be ingested again", len(uploads), err)
	}
}

// TestKilledAfterUpload: an upload that was answered with 200 is ingested even if the process dies the instant after.
func TestKilledAfterUpload(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for i := range rounds {
		p := startServe(t, dir)
		key, person := "uploads/"+string(rune('a'+i))+".ndjson", string(rune('a'+i))
		p.put(key, `{"person":"`+person+`","flavor":"vanilla"}`)
		p.kill()
		p = startServe(t, dir)
		if u := p.settled(key); u.Status != events.Live || u.Counts.Rows != 1 {
			t.Fatalf("%+v", u)
		}
		if got := p.team(); len(got) != i+1 || got[person] != "vanilla" {
			t.Fatalf("round %d: team = %v", i, got)
		}
		p.kill()
	}
}

func TestUpload(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	run := func(t *testing.T, args ...string) result {
		return command(t, "", append(args, "--data", p.dir)...)
	}
	tests := []struct {
		name, file, text string
		args             []string
		code             int
		want             []string // in the output
	}{
		{"live", "a.csv", "person,flavor\nandy,vanilla\n", nil, exitOK, []string{"live after", "1 row: 1 applied, 0 superseded, 0 rejected"}},
		{"live with rejects", "b.csv", "person,flavor\nandy,mint\nbill,\n", nil, exitRejected, []string{"1 applied, 0 superseded, 1 rejected", "missing_flavor", "bill,", "remove the person"}},
		{"failed", "c.json", `{"andy": "fudge", "bill"`, nil, exitFailed, []string{"failed", "malformed_json", "line 1", "1 applied"}},
		{"all or nothing", "d.csv", "person,flavor\nandy,lemon\nbill,\n", []string{"--on-error-abort"}, exitFailed, []string{"aborted", "0 applied", "2 rejected"}},
		{"empty", "e.csv", "", nil, exitOK, []string{"0 rows: 0 applied"}},
		{"JSON", "f.csv", "person,flavor\nzoë,vanilla\n", []string{"--json"}, exitOK, []string{`"status":"live"`, `"applied":1`}},
		{"detached", "g.csv", "person,flavor\nzoë,mint\n", []string{"--detach"}, exitOK, []string{"is uploaded as uploads/g.csv"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, append([]string{"upload", writeFile(t, test.file, test.text)}, test.args...)...)
			if got.code != test.code || got.err != "" {
				t.Errorf("exit code %d (want %d), stderr %q", got.code, test.code, got.err)
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
				t.Fatalf("%+v", got)
			}
			ids[i] = u.ID
		}
		if ids[0] == ids[1] {
			t.Errorf("both are %s", ids[0])
		}
	})
	t.Run("team", func(t *testing.T) {
		var team map[string]string
		got := run(t, "team", "--json")
		if got.code != exitOK || json.Unmarshal([]byte(got.out), &team) != nil {
			t.Fatalf("%+v", got)
		}
		if team["andy"] != "fudge" || team["zoë"] != "mint" || len(team) != 3 {
			t.Errorf("team = %v", team)
		}
	})
	t.Run("lookup", func(t *testing.T) {
		if got := run(t, "lookup", "andy"); got.code != exitOK || !strings.HasPrefix(got.out, "fudge") {
			t.Errorf("%+v", got)
		}
		if got := run(t, "lookup", "nobody"); got.code != exitFailed || !strings.Contains(got.err, "nobody") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("uploads", func(t *testing.T) {
		got := run(t, "uploads")
		if got.code != exitOK || !strings.Contains(got.out, "uploads/b.csv") || !strings.Contains(got.out, "failed") {
			t.Errorf("%+v", got)
		}
		id := p.settled("uploads/b.csv").ID
		if got := run(t, "uploads", id); got.code != exitOK || !strings.Contains(got.out, "missing_flavor") || !strings.Contains(got.out, "rejects.ndjson") {
			t.Errorf("%+v", got)
		}
		if got := run(t, "uploads", "nonsense"); got.code == exitOK {
			t.Errorf("%+v", got)
		}
	})
	t.Run("rejects in the reports bucket", func(t *testing.T) {
		id := p.settled("uploads/b.csv").ID
		out, err := p.s3().GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(p.info.ReportsBucket), Key: aws.String(id + "/rejects.ndjson")})
		if err != nil {
			t.Fatal(err)
		}
		var r events.Reject
		if err := json.NewDecoder(out.Body).Decode(&r); err != nil || r.Code != events.MissingFlavor || r.Line != 3 || r.Column != 6 || r.Offset != 24 {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("token", func(t *testing.T) {
		for ttl, want := range map[string]int{"1h": http.StatusOK, "0s": 0} {
			got := run(t, "token", "--ttl", ttl)
			if want == 0 {
				if got.code != exitUsage {
					t.Errorf("ttl %s: %+v", ttl, got)
				}
				continue
			}
			p.token = strings.TrimSpace(got.out)
			if status, _, err := p.raw(t.Context(), "/team"); err != nil || !strings.HasPrefix(status, "200") {
				t.Errorf("ttl %s: %s, %v", ttl, status, err)
			}
		}
	})
	t.Run("env", func(t *testing.T) {
		sh := exec.CommandContext(t.Context(), "sh", "-c", `eval "$("$0" env --data "$1")" && "$0" team --json`, os.Args[0], p.dir)
		sh.Env = append(os.Environ(), asProgram+"=1")
		out, err := sh.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"andy": "fudge"`) {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// TestBadUsage is acceptance 7: one clear line that says what to do, and exit code 2.
func TestBadUsage(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	file := writeFile(t, "plain", "x")
	csv := writeFile(t, "a.csv", "person,flavor\n")
	missing := filepath.Join(t.TempDir(), "missing")
	other := func() string { return filepath.Join(t.TempDir(), "other") }
	host := func(url string) string { return url[strings.LastIndex(url, "/")+1:] }
	free := []string{"--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0"}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"API port taken", append([]string{"serve", "--data", other()}, "--api", host(p.info.API), "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0"), "--api"},
		{"S3 port taken", append([]string{"serve", "--data", other()}, "--api", "127.0.0.1:0", "--s3", host(p.info.S3), "--nats", "127.0.0.1:0"), host(p.info.S3)},
		{"NATS port taken", append([]string{"serve", "--data", other()}, "--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", host(p.info.NATS)), host(p.info.NATS)},
		{"folder is a file", append([]string{"serve", "--data", file}, free...), "--data"},
		{"folder not writable", append([]string{"serve", "--data", "/proc/flavorless"}, free...), "--data"},
		{"folder in use", append([]string{"serve", "--data", p.dir}, free...), "another flavorless is using it"},
		{"half an identity provider", append([]string{"serve", "--data", other(), "--issuer", "https://id.example.com/"}, free...), "JWKS URI"},
		{"insecure JWKS URI", append([]string{"serve", "--data", other(), "--issuer", "i", "--audience", "a", "--jwks-uri", "http://id.example.com/"}, free...), "https"},
		{"bad address", []string{"serve", "--data", other(), "--api", "nonsense"}, "host:port"},
		{"unknown command", []string{"frobnicate"}, "--help"},
		{"unknown flag", []string{"team", "--frobnicate"}, "--help"},
		{"missing argument", []string{"lookup"}, "--help"},
		{"no server", []string{"team", "--data", missing}, "flavorless serve"},
		{"no server to upload to", []string{"upload", csv, "--data", missing}, "flavorless serve"},
		{"no server for env", []string{"env", "--data", missing}, "flavorless serve"},
		{"no server for a token", []string{"token", "--data", missing}, "flavorless serve"},
		{"no such file to upload", []string{"upload", missing, "--data", p.dir}, "missing"},
		{"unknown format to upload", []string{"upload", file, "--data", p.dir}, ".csv"},
		{"no such file to check", []string{"check", missing}, "missing"},
		{"folder to check", []string{"check", t.TempDir()}, "folder"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // should it start after all
			defer cancel()
			var out, stderr bytes.Buffer
			code := run(ctx, test.args, &terminal{in: strings.NewReader(""), out: &out, err: &stderr})
			text := strings.TrimSpace(stderr.String())
			if code != exitUsage || !strings.Contains(text, test.want) {
				t.Errorf("exit code %d, stderr:\n%s", code, text)
			}
			if lines := strings.Split(text, "\n"); len(lines) != 1 || !strings.HasPrefix(text, "flavorless: ") {
				t.Errorf("not one line:\n%s", text)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	const bad = "person,flavor\nandy,vanilla\nbill,\n"
	tests := []struct {
		name, stdin string
		args        []string
		code        int
		want        []string
	}{
		{"good", "", []string{writeFile(t, "a.csv", "person,flavor\nandy,vanilla\n")}, exitOK, []string{"1 row: 1 accepted, 0 rejected", "good"}},
		{"rejected", "", []string{writeFile(t, "b.csv", bad)}, exitRejected, []string{"line 3, column 6: missing_flavor", "bill,"}},
		{"broken", "", []string{writeFile(t, "c.json", `{"a":`)}, exitFailed, []string{"malformed_json", "cut off"}},
		{"unknown", "", []string{writeFile(t, "c.txt", `{"a":`)}, exitFailed, []string{"unknown_format", ".csv"}},
		{"several", "", []string{writeFile(t, "a.csv", bad), writeFile(t, "c.json", `{"a":`)}, exitFailed, []string{"missing_flavor", "malformed_json"}},
		{"stdin CSV", bad, []string{"-"}, exitRejected, []string{"missing_flavor"}},
		{"stdin JSON", `{"a": 1}`, []string{"-"}, exitRejected, []string{"not_a_string"}},
		{"stdin NDJSON", "{\"person\":\"a\",\"flavor\":\"b\"}\n{\"person\":\"a\"}", []string{"-"}, exitRejected, []string{"2 rows", "missing_flavor"}},
		{"stdin under a name", "person\tflavor\na\tb\n", []string{"-", "--as", "x.tsv"}, exitOK, []string{"1 accepted"}},
		{"JSON", bad, []string{"-", "--json"}, exitRejected, []string{`"code":"missing_flavor"`, `"file":"-","format":"csv","rows":2,"accepted":1,"rejected":1`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := command(t, test.stdin, append([]string{"check"}, test.args...)...)
			if got.code != test.code || got.err != "" {
				t.Errorf("exit code %d (want %d), stderr %q", got.code, test.code, got.err)
			}
			for _, want := range test.want {
				if !strings.Contains(got.out, want) {
					t.Errorf("the output lacks %q:\n%s", want, got.out)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, name := range []string{"", "demo", "serve", "env", "upload", "check", "team", "lookup", "uploads", "token"} {
		args := []string{name, "--help"}
		if name == "" {
			args = args[1:]
		}
		if got := command(t, "", args...); got.code != exitOK || !strings.Contains(got.out, "Usage:") || got.err != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
