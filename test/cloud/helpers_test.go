package cloud_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/test/cloud"
)

func (d *deployment) sign(t *testing.T, subject, scope string, ttl time.Duration) string {
	t.Helper()
	token, err := d.issuer.Sign(issuer.Grant{Subject: subject, Audience: audience, Scope: scope, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// response is a response of the API.
type response struct {
	status int
	header http.Header
	body   []byte
}

func (r response) String() string { return fmt.Sprintf("%d %s", r.status, r.body) }

// request sends a request to the API, without an Authorization header if token is empty.
func (d *deployment) request(t *testing.T, method, route, token string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.Gateway.URL+route, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://page.example") // as a browser does for a page
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return send(t, req)
}

func send(t *testing.T, req *http.Request) response {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res.StatusCode, res.Header, body}
}

// aws runs the aws command line.
func (d *deployment) aws(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "aws", args...)
	cmd.Env = append(cloud.Environ(), "HOME="+t.TempDir(), "AWS_ENDPOINT_URL="+d.Proxy.URL, "AWS_REGION="+cloud.Region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID="+d.Admin().Key, "AWS_SECRET_ACCESS_KEY=secret")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// put uploads an object without the command line.
func (d *deployment) put(t *testing.T, key, body string) {
	t.Helper()
	path := (&url.URL{Path: "/" + d.Ref("UploadsBucket") + "/" + key}).EscapedPath()
	if _, _, err := d.Admin().S3(t.Context(), http.MethodPut, path, []byte(body), nil); err != nil {
		t.Fatal(err)
	}
}

// notification returns S3's last event notification about a key, and the object in it.
func (d *deployment) notification(t *testing.T, key string) (cloud.Notification, events.Object) {
	t.Helper()
	var last cloud.Notification
	for _, sent := range d.Notifications.Sent() {
		if sent.Key == key {
			last = sent
		}
	}
	objects, err := aws.DecodeS3Event(last.Event)
	if err != nil || len(objects) != 1 || objects[0].Key != key {
		t.Fatalf("the notification about %s has objects %+v, error %v, want one object with that key", key, objects, err)
	}
	return last, objects[0]
}

// settled waits until the API reports the last upload of a key as settled, and checks that every row has one outcome.
func (d *deployment) settled(t *testing.T, key string) (u events.Upload) {
	t.Helper()
	_, object := d.notification(t, key)
	testutil.WaitFor(t, key+" is settled", func() bool {
		got := d.request(t, http.MethodGet, "/uploads/"+object.UploadID(), d.token)
		if got.status == http.StatusNotFound {
			return false
		}
		if err := json.Unmarshal(got.body, &u); got.status != http.StatusOK || err != nil {
			t.Fatalf("GET /uploads/%s = %v, want 200", object.UploadID(), got)
		}
		return u.Status.Settled()
	})
	if c := u.Counts; c.Outcomes() != c.Rows || c.Batches != c.BatchesApplied {
		t.Errorf("the counts of %s don't add up: %+v", key, c)
	}
	return u
}

// queue is a queue that a test reads.
type queue struct {
	url, arn string
	received []message
}

type message struct {
	Body              string
	MessageAttributes map[string]struct{ StringValue string }
}

// queue returns a queue of the template.
func (d *deployment) queue(id string) *queue { return &queue{url: d.Ref(id), arn: d.Attr(id, "Arn")} }

// subscribe creates a queue and subscribes it to the changes.
func (d *deployment) subscribe(t *testing.T, name string, filter map[string]any) *queue {
	t.Helper()
	var out struct{ QueueURL string }
	if err := d.Admin().JSON(t.Context(), "AmazonSQS.CreateQueue", map[string]any{"QueueName": name}, &out); err != nil {
		t.Fatal(err)
	}
	q := &queue{url: out.QueueURL, arn: "arn:aws:sqs:" + cloud.Region + ":" + cloud.Account + ":" + name}
	if _, err := d.Subscribe(t.Context(), d.Ref("ChangesTopic"), q.arn, true, filter); err != nil {
		t.Fatal(err)
	}
	return q
}

// sqs calls an operation of SQS about a queue of the template.
func (d *deployment) sqs(t *testing.T, operation, id string, in map[string]any, out any) {
	t.Helper()
	in["QueueUrl"] = d.Ref(id)
	if err := d.Admin().JSON(t.Context(), "AmazonSQS."+operation, in, out); err != nil {
		t.Fatal(err)
	}
}

// receive receives and deletes all messages that are visible.
func (d *deployment) receive(t *testing.T, q *queue) {
	t.Helper()
	for {
		var out struct {
			Messages []struct {
				ReceiptHandle string
				message
			}
		}
		in := map[string]any{"QueueUrl": q.url, "MaxNumberOfMessages": 10, "MessageAttributeNames": []string{"All"}}
		if err := d.Admin().JSON(t.Context(), "AmazonSQS.ReceiveMessage", in, &out); err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			q.received = append(q.received, m.message)
			in := map[string]any{"QueueUrl": q.url, "ReceiptHandle": m.ReceiptHandle}
			if err := d.Admin().JSON(t.Context(), "AmazonSQS.DeleteMessage", in, nil); err != nil {
				t.Fatal(err)
			}
		}
		if len(out.Messages) == 0 {
			return
		}
	}
}

// find waits for a message in the queue whose body contains a text.
func (d *deployment) find(t *testing.T, q *queue, text string) (found message) {
	t.Helper()
	testutil.WaitFor(t, "a message with "+text, func() bool {
		d.receive(t, q)
		for _, m := range q.received {
			if strings.Contains(m.Body, text) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// changes returns the changes that a subscriber received, such as "andy: cookie dough → mint", without duplicates.
func (q *queue) changes(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, m := range q.received {
		c, err := events.DecodeChange([]byte(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.MessageAttributes["kind"].StringValue; got != string(c.Kind) {
			t.Errorf("attribute kind = %q, want %q", got, c.Kind)
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
