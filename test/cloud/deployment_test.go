package cloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/test/cloud"
	"github.com/flavorless/flavorless/test/dynamolocal"
)

// root is the repository.
const root = "../.."

// What the deployment under test is told of its identity provider.
const (
	audience = "flavorless-cloud-test"
	scope    = "flavors:read"
)

// patience is how long a test waits for something that has to come, on a machine that others keep busy.
const patience = 3 * time.Minute

// deployment is the deployed stack, and those who use it.
type deployment struct {
	*cloud.Stack
	issuer *issuer.Issuer
	token  string // a good one
}

// needTools skips a test that needs more than Go, unless `make test` has seen to it that all is there.
func needTools(t *testing.T) {
	t.Helper()
	switch {
	case os.Getenv("FLAVORLESS_TEST_TOOLS") == "":
		t.Skip("this test needs moto, DynamoDB Local, osls and the aws command line, which test/tools.sh installs; run it with: make test")
	case runtime.GOOS != "linux":
		t.Skip("bootstraps are Linux programs")
	}
}

// deploy packages the repository as `make package` does, for this machine's processor, and deploys it.
func deploy(t *testing.T) *deployment {
	t.Helper()
	needTools(t)
	identity, err := issuer.Open(issuer.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys := http.NewServeMux()
	keys.Handle(issuer.JWKSPath, identity)
	provider := httptest.NewServer(keys)
	t.Cleanup(provider.Close)

	var template []byte
	dir, packed := t.TempDir(), make(chan error, 1)
	go func() { // while the judges start
		var err error
		template, err = pack(t.Context(), dir, map[string]string{
			"tokenIssuer": identity.Name(), "audience": audience, "jwksUri": provider.URL + issuer.JWKSPath, "requiredScope": scope,
		})
		packed <- err
	}()
	moto, stop, err := cloud.StartMoto(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	local := &dynamolocal.Server{}
	t.Cleanup(local.Stop)
	judges := &cloud.Judges{Moto: moto, DynamoDB: local.Endpoint(t)}
	if err := <-packed; err != nil {
		t.Fatal(err)
	}
	d := &deployment{issuer: identity}
	d.Stack, err = cloud.Deploy(t.Context(), cloud.Config{Template: template, Zips: filepath.Join(dir, ".build"), Dir: filepath.Join(dir, "functions"), Judges: judges})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log("refused:", d.Door.Refused())
			for name, f := range d.Functions {
				for _, line := range f.Logs() {
					if !strings.Contains(line, `"_aws"`) { // metrics
						t.Log(name, line)
					}
				}
			}
		}
	})
	d.token = d.sign(t, "reader", scope, time.Hour)
	return d
}

// pack builds the functions' zips and packages the stack in dir, with osls. It gives the template.
func pack(ctx context.Context, dir string, params map[string]string) ([]byte, error) {
	repository, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "run", "./tools/lambdazip", "-arch", runtime.GOARCH, "-o", filepath.Join(dir, ".build"), "./cmd/lambda/...")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the functions: %w\n%s", err, out)
	}
	service, err := os.ReadFile(filepath.Join(repository, "serverless.yml"))
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, "serverless.yml"), service, 0o600),
		os.CopyFS(filepath.Join(dir, "resources"), os.DirFS(filepath.Join(repository, "resources"))))
	if err != nil {
		return nil, err
	}
	args := []string{filepath.Join(repository, "node_modules/osls/bin/serverless.js"), "package", "--region", cloud.Region}
	for name, value := range params {
		args = append(args, "--param", name+"="+value)
	}
	osls := exec.CommandContext(ctx, "node", args...)
	// Nothing of the developer's own: neither credentials nor a configuration.
	osls.Dir, osls.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NO_COLOR=1", "AWS_EC2_METADATA_DISABLED=true"}
	if out, err := osls.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("osls package: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, ".serverless", "cloudformation-template-update-stack.json"))
}

func (d *deployment) sign(t *testing.T, subject, scope string, ttl time.Duration) string {
	t.Helper()
	token, err := d.issuer.Sign(issuer.Grant{Subject: subject, Audience: audience, Scope: scope, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// answer is what a reader gets.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request to the API. Without a token it has no Authorization.
func (d *deployment) ask(t *testing.T, method, route, token string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.Gateway.URL+route, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://page.example") // as a browser says for a page
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

// aws runs the aws command line.
func (d *deployment) aws(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "aws", args...)
	cmd.Env = append(cloud.Environ(), "HOME="+t.TempDir(), "AWS_ENDPOINT_URL="+d.Door.URL, "AWS_REGION="+cloud.Region, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID="+d.Admin().Key, "AWS_SECRET_ACCESS_KEY=secret")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// put uploads without the command line.
func (d *deployment) put(t *testing.T, key, body string) {
	t.Helper()
	path := (&url.URL{Path: "/" + d.Ref("UploadsBucket") + "/" + key}).EscapedPath()
	if _, _, err := d.Admin().S3(t.Context(), http.MethodPut, path, []byte(body), nil); err != nil {
		t.Fatal(err)
	}
}

// announced gives the notification that S3 sent last for a key, and the object in it.
func (d *deployment) announced(t *testing.T, key string) (cloud.Sent, events.Object) {
	t.Helper()
	var last cloud.Sent
	for _, sent := range d.Objects.Sent() {
		if sent.Key == key {
			last = sent
		}
	}
	objects, err := aws.DecodeS3Event(last.Event)
	if err != nil || len(objects) != 1 || objects[0].Key != key {
		t.Fatalf("the notification of %s: %v %+v", key, err, objects)
	}
	return last, objects[0]
}

// upload asks the API for an upload.
func (d *deployment) upload(t *testing.T, id string) (u events.Upload, found bool) {
	t.Helper()
	a := d.ask(t, http.MethodGet, "/uploads/"+id, d.token)
	if a.status == http.StatusNotFound {
		return u, false
	}
	if err := json.Unmarshal(a.body, &u); a.status != http.StatusOK || err != nil {
		t.Fatalf("GET /uploads/%s: %d %s", id, a.status, a.body)
	}
	return u, true
}

// settled waits until the API says that the last upload of a key has come to its end. Each row then has its outcome.
func (d *deployment) settled(t *testing.T, key string) (u events.Upload) {
	t.Helper()
	_, object := d.announced(t, key)
	await(t, key+" is settled", func() bool {
		u, _ = d.upload(t, object.UploadID())
		return u.Status.Settled()
	})
	if c := u.Counts; c.Applied+c.Superseded+c.Rejected != c.Rows || c.Batches != c.BatchesApplied {
		t.Errorf("the rows of %s do not add up: %+v", key, c)
	}
	return u
}

// queue is one that a test reads.
type queue struct {
	url, arn string
	got      []letter
}

// letter is a message as it was received.
type letter struct {
	Body              string
	MessageAttributes map[string]struct{ StringValue string }
}

// of gives a queue of the template.
func (d *deployment) of(id string) *queue { return &queue{url: d.Ref(id), arn: d.Attr(id, "Arn")} }

// subscriber makes a queue and subscribes it to the changes.
func (d *deployment) subscriber(t *testing.T, name string, filter map[string]any) *queue {
	t.Helper()
	var out struct{ QueueUrl string } //nolint:revive // the API's name
	if err := d.Admin().JSON(t.Context(), "AmazonSQS.CreateQueue", map[string]any{"QueueName": name}, &out); err != nil {
		t.Fatal(err)
	}
	q := &queue{url: out.QueueUrl, arn: "arn:aws:sqs:" + cloud.Region + ":" + cloud.Account + ":" + name}
	if _, err := d.Subscribe(t.Context(), d.Ref("ChangesTopic"), q.arn, true, filter); err != nil {
		t.Fatal(err)
	}
	return q
}

// receive takes what is in the queue now.
func (d *deployment) receive(t *testing.T, q *queue) {
	t.Helper()
	for {
		var out struct {
			Messages []struct {
				ReceiptHandle string
				letter
			}
		}
		in := map[string]any{"QueueUrl": q.url, "MaxNumberOfMessages": 10, "MessageAttributeNames": []string{"All"}}
		if err := d.Admin().JSON(t.Context(), "AmazonSQS.ReceiveMessage", in, &out); err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			q.got = append(q.got, m.letter)
			if err := d.Admin().JSON(t.Context(), "AmazonSQS.DeleteMessage", map[string]any{"QueueUrl": q.url, "ReceiptHandle": m.ReceiptHandle}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if len(out.Messages) == 0 {
			return
		}
	}
}

// find waits for a message in the queue that contains a text.
func (d *deployment) find(t *testing.T, q *queue, text string) (found letter) {
	t.Helper()
	await(t, "a message with "+text, func() bool {
		d.receive(t, q)
		for _, m := range q.got {
			if strings.Contains(m.Body, text) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// changes gives what a subscriber was told, as "andy: cookie dough → mint", each once.
func (q *queue) changes(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, m := range q.got {
		c, err := events.DecodeChange([]byte(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.MessageAttributes["kind"].StringValue; got != string(c.Kind) {
			t.Errorf("a change of the kind %s has the attribute %q", c.Kind, got)
		}
		all[fmt.Sprintf("%s: %s → %s", c.Person, c.Previous, c.Flavor)] = true
	}
	return all
}

func testdata(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, "test", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(body)
}
