package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/internal/aws/queues"
	"github.com/flavorless/flavorless/internal/aws/stack"
	"github.com/flavorless/flavorless/internal/aws/topics"
)

// watcher is `flavorless watch` in a process of its own.
type watcher struct {
	*exec.Cmd
	t         *testing.T
	out, errs *bufio.Scanner
	pipe      io.Closer
}

// startWatch starts it, and returns once it misses nothing any more.
func startWatch(t *testing.T, args ...string) *watcher {
	t.Helper()
	w := &watcher{t: t, Cmd: exec.CommandContext(t.Context(), os.Args[0], append([]string{"watch"}, args...)...)}
	w.Env = append(os.Environ(), asProgram+"=1", "TZ=UTC")
	out, err := w.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := w.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.out, w.errs, w.pipe = bufio.NewScanner(out), bufio.NewScanner(errs), out
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.ProcessState == nil {
			_ = w.Process.Kill()
			_ = w.Wait()
		}
	})
	if !w.errs.Scan() || !strings.Contains(w.errs.Text(), "watching the changes") {
		t.Fatalf("it does not watch: %s", w.errs.Text())
	}
	return w
}

func (w *watcher) line() string {
	w.t.Helper()
	if !w.out.Scan() {
		w.t.Fatalf("it shows nothing more: %v", w.out.Err())
	}
	return w.out.Text()
}

// end waits until it has ended, and gives what else it wrote to either side.
func (w *watcher) end(by os.Signal) (code int, rest string) {
	w.t.Helper()
	if by != nil {
		if err := w.Process.Signal(by); err != nil {
			w.t.Fatal(err)
		}
	}
	for w.out.Scan() {
		rest += w.out.Text() + "\n"
	}
	for w.errs.Scan() {
		rest += w.errs.Text() + "\n"
	}
	_ = w.Wait() // its code says it
	return w.ProcessState.ExitCode(), rest
}

// watching gives the attributes of the queues that watchers have, and the filter policies of the topic's subscriptions.
func (c *cloud) watching() (found []map[string]string, filters []string) {
	c.t.Helper()
	prefix := stack.WatchPrefix
	client, sender := queues.Client(c.access), topics.Client(c.access)
	list, err := client.ListQueues(c.t.Context(), &sqs.ListQueuesInput{QueueNamePrefix: &prefix})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, url := range list.QueueUrls {
		out, err := client.GetQueueAttributes(c.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqsAttribute{"All"}})
		if err != nil {
			c.t.Fatal(err)
		}
		found = append(found, out.Attributes)
	}
	topic := c.outputs["ChangesTopicArn"]
	subscriptions, err := sender.ListSubscriptionsByTopic(c.t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range subscriptions.Subscriptions {
		out, err := sender.GetSubscriptionAttributes(c.t.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: s.SubscriptionArn})
		if err != nil {
			c.t.Fatal(err)
		}
		if out.Attributes["RawMessageDelivery"] != "true" {
			c.t.Errorf("a subscription is not raw: %v", out.Attributes)
		}
		filters = append(filters, out.Attributes["FilterPolicy"])
	}
	return found, filters
}

func TestWatchStack(t *testing.T) {
	c := deployed(t, nil)
	created, changed := change(t, "andy", "", "vanilla", 1), change(t, "andy", "vanilla", "mint", 2)
	removed := change(t, "andy", "mint", "", 3)
	const andyRemoved = "2026-11-23 09:00:00  removed  andy, whose favorite was mint"

	w := startWatch(t, "--stack", c.stack, "--person", "andy", "--person", "Zoë", "--kind", "changed,removed")
	queues, filters := c.watching()
	if len(queues) != 1 || queues[0]["SqsManagedSseEnabled"] != "true" || queues[0]["MessageRetentionPeriod"] != "300" {
		t.Errorf("queues: %v", queues)
	}
	var policy struct {
		Statement []struct {
			Effect, Action, Resource string
			Principal                map[string]string
			Condition                map[string]map[string]string
		}
	}
	if err := json.Unmarshal([]byte(queues[0]["Policy"]), &policy); err != nil || len(policy.Statement) != 1 {
		t.Fatalf("the queue's policy: %v, %s", err, queues[0]["Policy"])
	}
	if s := policy.Statement[0]; s.Effect != "Allow" || s.Action != "sqs:SendMessage" || s.Resource != queues[0]["QueueArn"] ||
		s.Principal["Service"] != "sns.amazonaws.com" || s.Condition["ArnEquals"]["aws:SourceArn"] != c.outputs["ChangesTopicArn"] {
		t.Errorf("the queue's policy: %+v", s)
	}
	if diff := cmp.Diff([]string{`{"type":["flavorless.change.v1"],"person":["andy","Zoë"],"kind":["changed","removed"]}`}, filters); diff != "" {
		t.Errorf("filter policies (-want +got):\n%s", diff)
	}
	// The policy takes minutes until it holds everywhere; what it lets through until then is not shown.
	c.send(c.urlOf(queues[0]["QueueArn"]), string(change(t, "ann", "fudge", "mint", 5).Message().Body), nil)
	c.publish(created, changed, change(t, "bill", "vanilla", "lemon", 4), changed, removed)
	lines := []string{w.line(), w.line()} // SNS keeps no order
	slices.Sort(lines)
	if diff := cmp.Diff([]string{"2026-11-23 09:00:00  changed  andy: mint, no longer vanilla", andyRemoved}, lines); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	if code, rest := w.end(syscall.SIGINT); code != exitOK || rest != "" {
		t.Errorf("exit code %d, and more: %s", code, rest)
	}

	t.Run("JSON, so many", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack, "--json", "--count", "1", "--flavor", "mint")
		c.publish(created, changed)
		want := `{"kind":"changed","person":"andy","flavor":"mint","previous":"vanilla","version":"` + string(changed.Version) + `","upload":"` + changed.UploadID() + `"}`
		if diff := cmp.Diff(want, w.line()); diff != "" {
			t.Errorf("shown (-want +got):\n%s", diff)
		}
		if code, rest := w.end(nil); code != exitOK || rest != "" {
			t.Errorf("exit code %d, and more: %s", code, rest)
		}
	})
	t.Run("so long", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack, "--count", "1", "--timeout", "1s")
		if code, rest := w.end(nil); code != exitFailed || !strings.Contains(rest, "0 changes within 1s") {
			t.Errorf("exit code %d, and %s", code, rest)
		}
	})
	t.Run("terminated", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack)
		if code, rest := w.end(syscall.SIGTERM); code != exitOK || rest != "" {
			t.Errorf("exit code %d, and more: %s", code, rest)
		}
	})
	t.Run("the terminal is closed", func(t *testing.T) {
		// What is handled here is not ignored there, though the tests be run under nohup.
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, syscall.SIGHUP)
		defer signal.Stop(heard)
		w := startWatch(t, "--stack", c.stack)
		if code, rest := w.end(syscall.SIGHUP); code != exitOK || rest != "" {
			t.Errorf("exit code %d, and more: %s", code, rest)
		}
	})
	t.Run("nobody reads any more", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack)
		if err := w.pipe.Close(); err != nil {
			t.Fatal(err)
		}
		c.publish(created)
		if code, rest := w.end(nil); code != exitOK || rest != "" {
			t.Errorf("exit code %d, and more: %s", code, rest)
		}
	})
	t.Run("what is no change", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack)
		topic, text, typ := c.outputs["ChangesTopicArn"], "nonsense", "flavorless.change.v1"
		_, err := topics.Client(c.access).Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: &text, MessageAttributes: snsAttributes("type", typ)})
		if err != nil {
			t.Fatal(err)
		}
		if code, rest := w.end(nil); code != exitFailed || !strings.Contains(rest, "decoding a change") {
			t.Errorf("exit code %d, and %s", code, rest)
		}
	})
	t.Run("half-way", func(t *testing.T) {
		topic := c.outputs["ChangesTopicArn"]
		if _, err := topics.Client(c.access).DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &topic}); err != nil {
			t.Fatal(err)
		}
		if got := command(t, "", "watch", "--stack", c.stack); got.code != exitFailed || !strings.Contains(got.err, "subscribing to the changes") {
			t.Errorf("%+v", got)
		}
		if _, err := topics.Client(c.access).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: ptr(c.stack + "-changes")}); err != nil {
			t.Fatal(err)
		}
	})
	if queues, filters := c.watching(); len(queues)+len(filters) > 0 {
		t.Errorf("left behind: %v, %v", queues, filters)
	}
}
