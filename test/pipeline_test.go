package test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

// pipeline is the whole house on one machine, as serve starts it.
type pipeline struct {
	*local.Server
	t      testing.TB
	config local.Config
	dir    string
	token  string
}

func startPipeline(t testing.TB, change ...func(*local.Config)) *pipeline {
	t.Helper()
	p := &pipeline{t: t, config: local.Config{Dir: filepath.Join(t.TempDir(), "data"), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	for _, f := range change {
		f(&p.config)
	}
	p.dir = p.config.Dir
	p.start()
	t.Cleanup(func() {
		if err := p.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(p.dir)})
	if err == nil {
		p.token, err = is.Sign(issuer.Grant{Subject: "test", Audience: p.Info().Audience, TTL: time.Hour})
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pipeline) start() {
	p.t.Helper()
	var err error
	p.Server, err = local.Start(p.t.Context(), p.config)
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipeline) put(key string, body []byte, metadata map[string]string) {
	p.t.Helper()
	_, err := p.S3().PutObject(p.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(p.Info().Bucket), Key: aws.String(key), Body: bytes.NewReader(body), Metadata: metadata,
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pipeline) get(route string) (status int, body []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.Info().API+route, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, body
}

// settled waits for the end of the newest upload of a key, and holds it to promise 3: the rows add up.
func (p *pipeline) settled(key string) (settled events.Upload) {
	p.t.Helper()
	testutil.WaitFor(p.t, key+" to be settled", func() bool {
		for _, u := range p.uploads() {
			if u.Key == key {
				settled = u
				return u.Status.Settled()
			}
		}
		return false
	})
	if c := settled.Counts; c.Applied+c.Superseded+c.Rejected != c.Rows || c.Batches != c.BatchesApplied {
		p.t.Fatalf("the rows of %s do not add up: %+v", key, c)
	}
	return settled
}

// uploads are the newest 500, as the API tells of them.
func (p *pipeline) uploads() []events.Upload {
	p.t.Helper()
	var page struct {
		Uploads []events.Upload `json:"uploads"`
	}
	if status, body := p.get("/uploads?limit=500"); status != http.StatusOK || json.Unmarshal(body, &page) != nil {
		p.t.Fatalf("GET /uploads: %d %s", status, body)
	}
	return page.Uploads
}

func compress(t *testing.T, text []byte, how string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch how {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return text
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// teamFiles gives the talk's team in every format, without its suffix for compression.
func teamFiles(t *testing.T) (files map[string][]byte, answer string) {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	object := read("favorites.json")
	team := map[string]string{}
	if err := json.Unmarshal(object, &team); err != nil {
		t.Fatal(err)
	}
	tsv, array, ndjson := "flavor\tperson\n", "[", ""
	for person, flavor := range team {
		tsv += flavor + "\t" + person + "\n"
		row := fmt.Sprintf(`{"person": %q, "flavor": %q}`, person, flavor)
		ndjson += row + "\n"
		array += row + ","
	}
	return map[string][]byte{
		"favorites.csv": read("favorites.csv"), "favorites.json": object, "favorites.tsv": []byte(tsv),
		"array.json": []byte(strings.TrimSuffix(array, ",") + "]"), "favorites.ndjson": []byte(ndjson),
	}, strings.TrimSpace(string(read("team.json")))
}

// TestTeam is acceptance 2 of the spine: the talk's team in every format and compression gives exactly the talk's answer.
func TestTeam(t *testing.T) {
	files, want := teamFiles(t)
	for name, text := range files {
		for _, compression := range []string{"", ".gz", ".zst"} {
			t.Run(name+compression, func(t *testing.T) {
				p := startPipeline(t)
				key := "uploads/" + name + compression
				p.put(key, compress(t, text, compression), nil)
				if u := p.settled(key); u.Status != events.Live || u.Counts.Applied != 8 || u.Counts.Rows != 8 {
					t.Errorf("%+v", u)
				}
				if status, got := p.get("/team"); status != http.StatusOK || strings.TrimSpace(string(got)) != want {
					t.Errorf("%d %s", status, gocmp.Diff(want, string(got)))
				}
			})
		}
	}
}

// TestAWSCommandLine uploads with the stock aws command line, as its users do: cp, sync, copies, metadata, multipart.
// It needs that program; `make test` sees to it.
func TestAWSCommandLine(t *testing.T) {
	program, err := exec.LookPath("aws")
	if err != nil {
		if os.Getenv("FLAVORLESS_TEST_TOOLS") != "" {
			t.Fatal("the aws command line is missing; run this by `make test`, which installs it")
		}
		t.Skip("the aws command line is not installed; `make test` installs it and runs this")
	}
	files, want := teamFiles(t)
	p := startPipeline(t)
	bucket := "s3://" + p.Info().Bucket
	run := func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), program, args...)
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "HOME=") {
				c.Env = append(c.Env, v)
			}
		}
		c.Env = append(c.Env, "HOME="+t.TempDir(), "AWS_ENDPOINT_URL_S3="+p.Info().S3, "AWS_REGION="+p.Info().Region,
			"AWS_ACCESS_KEY_ID="+p.Info().AccessKey, "AWS_SECRET_ACCESS_KEY="+p.Info().SecretKey)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	team := func() {
		t.Helper()
		if _, got := p.get("/team"); strings.TrimSpace(string(got)) != want {
			t.Error(gocmp.Diff(want, string(got)))
		}
	}

	run("s3", "cp", filepath.Join(dir, "favorites.csv"), bucket+"/uploads/")
	p.settled("uploads/favorites.csv")
	team()

	run("s3", "sync", dir, bucket+"/uploads/sync/")
	for name := range files {
		if u := p.settled("uploads/sync/" + name); u.Status != events.Live {
			t.Errorf("%+v", u)
		}
	}
	team()

	run("s3", "cp", bucket+"/uploads/favorites.csv", bucket+"/uploads/a copy, 100% ü.csv")
	if u := p.settled("uploads/a copy, 100% ü.csv"); u.Status != events.Live || u.Counts.Applied != 8 {
		t.Errorf("%+v", u)
	}

	bad := filepath.Join(dir, "bad.csv")
	if err := os.WriteFile(bad, []byte("person,flavor\nandy,lemon\nbill,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("s3", "cp", "--metadata", "on-error=abort", bad, bucket+"/uploads/")
	if u := p.settled("uploads/bad.csv"); u.Status != events.Failed || u.Failure.Code != events.Aborted || u.Counts.Applied != 0 || u.Counts.Rejected != 2 {
		t.Errorf("%+v", u)
	}
	team()

	run("s3", "cp", bad, bucket+"/elsewhere/") // not under uploads/: nothing is ingested

	large := filepath.Join(dir, "large.csv") // above 8 MiB the aws command line uploads in parts
	const people = 30_000
	var b bytes.Buffer
	b.WriteString("person,flavor,remark\n")
	for i := range people {
		fmt.Fprintf(&b, "person number %06d,mint chocolate chip,%0300d\n", i, i)
	}
	if err := os.WriteFile(large, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	run("s3", "cp", large, bucket+"/uploads/")
	if u := p.settled("uploads/large.csv"); u.Status != events.Live || u.Counts.Applied != people || !strings.Contains(u.ETag, "-") {
		t.Errorf("%+v", u)
	}
	_, body := p.get("/uploads?limit=500")
	if strings.Contains(string(body), "elsewhere/") {
		t.Error("an object outside of uploads/ was ingested")
	}
}

// TestChangesForSubscribers: what a plain NATS client hears adds up to the table, and a file without news is silent.
func TestChangesForSubscribers(t *testing.T) {
	p := startPipeline(t)
	info := p.Info()
	nc, err := nats.Connect(info.NATS, nats.UserInfo(info.NATSUser, info.NATSPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("flavorless.change.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	next := func() (string, string) {
		t.Helper()
		m, err := sub.NextMsg(testutil.Timeout)
		if err != nil {
			t.Fatal(err)
		}
		c, err := events.DecodeChange(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get("kind") != string(c.Kind) || m.Header.Get("person") != c.Person {
			t.Errorf("headers %v of %+v", m.Header, c)
		}
		return m.Subject, fmt.Sprintf("%s %s: %s -> %s", c.Kind, c.Person, c.Previous, c.Flavor)
	}
	steps := []struct {
		name, text string
		want       [][2]string
	}{
		{"a.csv", "person,flavor\nandy,vanilla\n", [][2]string{{"flavorless.change.v1.created", "created andy:  -> vanilla"}}},
		{"same.csv", "person,flavor\nandy,vanilla\n", nil},
		{"b.csv", "person,flavor\nandy,mint\n", [][2]string{{"flavorless.change.v1.changed", "changed andy: vanilla -> mint"}}},
		{"c.json", `{"andy": null, "never seen": null}`, [][2]string{{"flavorless.change.v1.removed", "removed andy: mint -> "}}},
		{"last.csv", "person,flavor\nbill,fudge\n", [][2]string{{"flavorless.change.v1.created", "created bill:  -> fudge"}}},
	}
	for _, step := range steps {
		p.put("uploads/"+step.name, []byte(step.text), nil)
		p.settled("uploads/" + step.name)
		for _, want := range step.want {
			subject, got := next()
			if diff := gocmp.Diff(want, [2]string{subject, got}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
	}
	if n, _, err := sub.Pending(); n > 0 || err != nil {
		t.Errorf("%d more changes than there should be, %v", n, err)
	}
}

// TestOverwritten: an object that is gone before it is read ends as a visible failure.
func TestOverwritten(t *testing.T) {
	p := startPipeline(t)
	const key = "uploads/again.csv"
	for i := range 20 { // each as soon as the one before is stored; some are overwritten before they are read
		p.put(key, fmt.Appendf(nil, "person,flavor\nandy,flavor %d\n", i), nil)
	}
	var uploads []events.Upload
	testutil.WaitFor(t, "all to be settled", func() bool {
		uploads = p.uploads()
		return len(uploads) == 20 && !slices.ContainsFunc(uploads, func(u events.Upload) bool { return !u.Status.Settled() })
	})
	if _, body := p.get("/ice-cream/andy"); !strings.Contains(string(body), `"flavor 19"`) {
		t.Errorf("%s", body)
	}
	for _, u := range uploads {
		if u.Status == events.Failed && u.Failure.Code != events.ObjectVanished {
			t.Errorf("%+v", u)
		}
	}
}
