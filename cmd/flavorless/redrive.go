package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/internal/local/control"
	"github.com/flavorless/flavorless/internal/operator"
)

const redriveHelp = `Without an argument, list dead letters: the messages that still failed after all retries, with
the reason. With the names of queues, the ids of messages, or --all, put them back into the
pipeline, which processes them again with all retries. A message is deleted from its
dead-letter queue only after it was put back. A message that can't be put back stays there,
and redrive prints the reason. It is safe to run redrive twice.

A server on this machine has the queues ingest-dead and apply-dead, and one for each webhook.
A deployed stack has these queues, whose messages have no ids:

  apply-dead, resume-dead   SQS moves the messages back to their source queue
  updates-undelivered       redrive publishes the messages to the updates topic again
  ingest-dead               redrive invokes ingest again with the object events
  announce-dead             redrive publishes changes again, reads failed ranges of the
                            change stream again, and invokes announce with the records

For a stack you need permission for sqs:GetQueueAttributes, ReceiveMessage,
ChangeMessageVisibility, DeleteMessage, StartMessageMoveTask, ListMessageMoveTasks,
ListDeadLetterSourceQueues and SendMessage, sns:Publish, lambda:InvokeFunction, and
dynamodb:GetShardIterator and GetRecords. Each queue needs only some of them.

Exit codes: 0 done, 1 a message could not be put back, 2 usage or environment error.`

type redriveFlags struct {
	clientFlags
	all, asJSON bool
	show        int
}

func newRedrive(t *terminal) *cobra.Command {
	var f redriveFlags
	c := &cobra.Command{
		Use:   "redrive [QUEUE | ID]…",
		Short: "List messages that failed after all retries, or process them again",
		Long:  redriveHelp,
		Example: "  flavorless redrive\n  flavorless redrive --all\n  flavorless redrive 17 18\n" +
			"  flavorless redrive --stack flavorless-dev\n" +
			"  flavorless redrive --stack flavorless-dev --profile work apply-dead ingest-dead",
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), t, args)
		},
	}
	f.addTarget(c)
	wideFlag(c, t)
	c.Flags().BoolVar(&f.all, "all", false, "put back the messages of every queue")
	c.Flags().IntVar(&f.show, "show", 10, "list at most this many messages of each queue")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one line of JSON for each queue")
	return c
}

func (f *redriveFlags) run(ctx context.Context, t *terminal, targets []string) error {
	switch {
	case f.all && len(targets) > 0:
		return usage("--all selects every queue; give either --all or the names of queues")
	case f.show < 0:
		return usage("--show %d is negative; give the number of messages", f.show)
	}
	conn, err := f.locate(ctx)
	if err != nil {
		return err
	}
	var dead operator.DeadLetters = conn.stack
	isQueue := func(name string) bool { return slices.Contains(dead.DeadQueues(), name) }
	if conn.stack == nil {
		if conn.info.Control == "" {
			return usage("redrive needs the data folder of the server, because FLAVORLESS_URL does not give access; " +
				"give it with --data")
		}
		server, err := control.Open(ctx, conn.info.API, conn.info.Control)
		var unreachable *url.Error
		if errors.As(err, &unreachable) {
			return conn.unreachable(conn.info.API, unreachable.Err)
		}
		if err != nil {
			return fmt.Errorf("accessing the dead letters: %w", err)
		}
		dead, isQueue = server, server.HasQueue
	}
	names := dead.DeadQueues()
	for _, target := range targets {
		_, notID := strconv.ParseUint(target, 10, 64)
		switch {
		case notID == nil && conn.stack != nil:
			return usage("the messages of a stack have no ids; give names of queues: %s", strings.Join(names, ", "))
		case notID != nil && !isQueue(target):
			return usage("there is no dead-letter queue %q; the queues are %s", target, strings.Join(names, ", "))
		}
	}
	if f.all {
		targets = names
	}
	if len(targets) > 0 {
		return f.redrive(ctx, t, dead, targets)
	}
	return f.list(ctx, t, conn, dead)
}

// list prints the messages in the queues.
func (f *redriveFlags) list(ctx context.Context, t *terminal, conn *connection, dead operator.DeadLetters) error {
	var depths, letters [][]string
	for _, name := range dead.DeadQueues() {
		d, err := dead.DeadQueue(ctx, name, f.show)
		if err != nil {
			return err
		}
		if f.asJSON {
			if err := t.json(d); err != nil {
				return err
			}
			continue
		}
		depths = append(depths, []string{d.Queue, strconv.FormatInt(d.Waiting, 10)})
		for _, l := range d.Letters {
			row := []string{d.Queue, l.Sent.Local().Format(time.DateTime), printable(l.Subject), printable(l.Reason)}
			if conn.stack == nil {
				row = append([]string{strconv.FormatUint(l.ID, 10), strconv.Itoa(l.Tries)}, row...)
			}
			letters = append(letters, row)
		}
	}
	if f.asJSON {
		return nil
	}
	t.table("", []column{{name: "QUEUE"}, {name: "WAITING"}}, depths)
	if len(letters) > 0 {
		t.printf("\n")
		header := []column{
			{name: "QUEUE", minWidth: 12}, {name: "SINCE"}, {name: "MESSAGE", minWidth: 12},
			{name: "REASON", minWidth: 12, wrap: true},
		}
		if conn.stack == nil {
			header = append([]column{{name: "ID"}, {name: "TRIES"}}, header...)
		}
		t.table("", header, letters)
		t.printf("\nFix the cause, and then process them again: flavorless redrive%s --all\n", conn.flags)
	}
	return nil
}

// redrive puts back the messages of queues, or single messages. After a failure it continues with the next target.
func (f *redriveFlags) redrive(ctx context.Context, t *terminal, dead operator.DeadLetters, targets []string) error {
	code := exitOK
	for _, name := range targets {
		var line statusLine
		r, err := dead.Redrive(ctx, name, func(n int64) { line.text(t, fmt.Sprintf("%s: %d put back", name, n)) })
		line.clear(t)
		if err != nil {
			r.Failures = append(r.Failures, err.Error())
		}
		if len(r.Failures) > 0 {
			code = exitFailed
		}
		if err := f.printResult(t, r); err != nil {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return exitWith(code)
}

func (f *redriveFlags) printResult(t *terminal, r operator.RedriveResult) error {
	if f.asJSON {
		return t.json(r)
	}
	t.printf("%s: %d put back\n", r.Queue, r.Restored)
	for _, failure := range r.Failures {
		t.errorf("%s: %s", r.Queue, printable(failure))
	}
	return nil
}
