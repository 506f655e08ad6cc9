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

// startWatch starts watch, and returns once it receives changes.
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
		t.Fatalf("watch prints %q, want that it is watching", w.errs.Text())
	}
	return w
}

func (w *watcher) line() string {
	w.t.Helper()
	if !w.out.Scan() {
		w.t.Fatalf("watch prints no further line (%v), want one", w.out.Err())
	}
	return w.out.Text()
}

// wantEnd reports an error unless the process, after a signal if that is not nil, succeeds without further output.
func (w *watcher) wantEnd(signal os.Signal) {
	w.t.Helper()
	if code, rest := w.end(signal); code != exitOK || rest != "" {
		w.t.Errorf("exit code of watch = %d with the output %q, want %d without output", code, rest, exitOK)
	}
}

// end waits until the process has ended, after a signal if that is not nil. It returns the rest of both outputs.
func (w *watcher) end(signal os.Signal) (code int, rest string) {
	w.t.Helper()
	if signal != nil {
		if err := w.Process.Signal(signal); err != nil {
			w.t.Fatal(err)
		}
	}
	for w.out.Scan() {
		rest += w.out.Text() + "\n"
	}
	for w.errs.Scan() {
		rest += w.errs.Text() + "\n"
	}
	_ = w.Wait() // ExitCode has its result
	return w.ProcessState.ExitCode(), rest
}

// watching returns the attributes of the queues of watchers, and the filter policies of the topic's subscriptions.
func (c *cloud) watching() (found []map[string]string, filters []string) {
	c.t.Helper()
	prefix := stack.WatchPrefix
	client, sender := queues.Client(c.access), topics.Client(c.access)
	list, err := client.ListQueues(c.t.Context(), &sqs.ListQueuesInput{QueueNamePrefix: &prefix})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, url := range list.QueueUrls {
		out, err := client.GetQueueAttributes(c.t.Context(),
			&sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqsAttribute{"All"}})
		if err != nil {
			c.t.Fatal(err)
		}
		found = append(found, out.Attributes)
	}
	topic := c.outputs["ChangesTopicArn"]
	subscriptions, err := sender.ListSubscriptionsByTopic(c.t.Context(),
		&sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range subscriptions.Subscriptions {
		out, err := sender.GetSubscriptionAttributes(c.t.Context(),
			&sns.GetSubscriptionAttributesInput{SubscriptionArn: s.SubscriptionArn})
		if err != nil {
			c.t.Fatal(err)
		}
		if out.Attributes["RawMessageDelivery"] != "true" {
			c.t.Errorf("subscription = %v, want raw message delivery", out.Attributes)
		}
		filters = append(filters, out.Attributes["FilterPolicy"])
	}
	return found, filters
}

func TestWatchStack(t *testing.T) {
	c := deployStack(t, nil)
	created, changed := change(t, "andy", "", "vanilla", 1), change(t, "andy", "vanilla", "mint", 2)
	removed := change(t, "andy", "mint", "", 3)
	const andyRemoved = "2026-11-23 09:00:00  removed  andy, whose favorite was mint"

	w := startWatch(t, "--stack", c.stack, "--person", "andy", "--person", "Zoë", "--kind", "changed,removed")
	queues, filters := c.watching()
	if len(queues) != 1 || queues[0]["SqsManagedSseEnabled"] != "true" || queues[0]["MessageRetentionPeriod"] != "300" {
		t.Errorf("queues = %v, want one, encrypted, with a retention of 300 seconds", queues)
	}
	var policy struct {
		Statement []struct {
			Effect, Action, Resource string
			Principal                map[string]string
			Condition                map[string]map[string]string
		}
	}
	if err := json.Unmarshal([]byte(queues[0]["Policy"]), &policy); err != nil || len(policy.Statement) != 1 {
		t.Fatalf("policy of the queue = %s (%v), want one statement", queues[0]["Policy"], err)
	}
	if s := policy.Statement[0]; s.Effect != "Allow" || s.Action != "sqs:SendMessage" ||
		s.Resource != queues[0]["QueueArn"] ||
		s.Principal["Service"] != "sns.amazonaws.com" ||
		s.Condition["ArnEquals"]["aws:SourceArn"] != c.outputs["ChangesTopicArn"] {
		t.Errorf("statement of the policy = %+v, want that only SNS can send from the topic", s)
	}
	if diff := cmp.Diff([]string{`{"type":["flavorless.change.v1"],"person":["andy","Zoë"],"kind":["changed","removed"]}`},
		filters); diff != "" {
		t.Errorf("filter policies (-want +got):\n%s", diff)
	}
	// Until SNS applies the filter policy, which takes minutes, watch itself must filter changes.
	c.send(c.urlOf(queues[0]["QueueArn"]), string(change(t, "ann", "fudge", "mint", 5).Message().Body), nil)
	c.publish(created, changed, change(t, "bill", "vanilla", "lemon", 4), changed, removed)
	lines := []string{w.line(), w.line()} // SNS does not keep the order
	slices.Sort(lines)
	if diff := cmp.Diff([]string{"2026-11-23 09:00:00  changed  andy: mint, no longer vanilla", andyRemoved},
		lines); diff != "" {
		t.Errorf("printed lines (-want +got):\n%s", diff)
	}
	w.wantEnd(syscall.SIGINT)

	t.Run("JSON and count", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack, "--json", "--count", "1", "--flavor", "mint")
		c.publish(created, changed)
		want := `{"kind":"changed","person":"andy","flavor":"mint","previous":"vanilla","version":"` +
			string(changed.Version) + `","upload":"` + changed.UploadID() + `"}`
		if diff := cmp.Diff(want, w.line()); diff != "" {
			t.Errorf("printed lines (-want +got):\n%s", diff)
		}
		w.wantEnd(nil)
	})
	t.Run("timeout", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack, "--count", "1", "--timeout", "1s")
		if code, rest := w.end(nil); code != exitFailed || !strings.Contains(rest, "1s") {
			t.Errorf("exit code of watch = %d, want %d; output %q", code, exitFailed, rest)
		}
	})
	t.Run("terminated", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack)
		w.wantEnd(syscall.SIGTERM)
	})
	t.Run("the terminal is closed", func(t *testing.T) {
		// A signal that this process handles is not ignored by the child, even if the tests run under nohup.
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, syscall.SIGHUP)
		defer signal.Stop(heard)
		w := startWatch(t, "--stack", c.stack)
		w.wantEnd(syscall.SIGHUP)
	})
	t.Run("closed output", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack)
		if err := w.pipe.Close(); err != nil {
			t.Fatal(err)
		}
		c.publish(created)
		w.wantEnd(nil)
	})
	t.Run("a message that is not a change", func(t *testing.T) {
		w := startWatch(t, "--stack", c.stack)
		topic, text, typ := c.outputs["ChangesTopicArn"], "nonsense", "flavorless.change.v1"
		_, err := topics.Client(c.access).Publish(t.Context(),
			&sns.PublishInput{TopicArn: &topic, Message: &text, MessageAttributes: snsAttributes("type", typ)})
		if err != nil {
			t.Fatal(err)
		}
		if code, rest := w.end(nil); code != exitFailed || rest == "" {
			t.Errorf("exit code of watch = %d, want %d; output %q", code, exitFailed, rest)
		}
	})
	t.Run("missing topic", func(t *testing.T) {
		topic := c.outputs["ChangesTopicArn"]
		if _, err := topics.Client(c.access).DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &topic}); err != nil {
			t.Fatal(err)
		}
		command(t, "", "watch", "--stack", c.stack).wantErr(t, exitFailed, "changes")
		if _, err := topics.Client(c.access).CreateTopic(t.Context(),
			&sns.CreateTopicInput{Name: new(c.stack + "-changes")}); err != nil {
			t.Fatal(err)
		}
	})
	if queues, filters := c.watching(); len(queues)+len(filters) > 0 {
		t.Errorf("remaining queues %v and subscriptions %v, want none", queues, filters)
	}
}
