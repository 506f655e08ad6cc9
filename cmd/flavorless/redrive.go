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

const redriveHelp = `Without an argument, list what could not be processed and why; with queues or the ids of single messages, or --all, put it back
into the pipeline, where it has all its tries again. Nothing is deleted before it is back, and what can't be put back
stays, with an error. Doing it twice does no harm.

The server on this machine has ingest-dead, apply-dead, and a queue for each webhook. A deployed stack has no ids, and these queues:

  apply-dead, resume-dead   SQS moves the messages back to the queue that they came from
  updates-undelivered       messages are published again to the updates topic
  ingest-dead               ingest is invoked again with the object events
  announce-dead             changes are published again; stretches of the change stream are read again and given to announce

It needs permission for sqs:GetQueueAttributes, ReceiveMessage, ChangeMessageVisibility, DeleteMessage, StartMessageMoveTask,
ListMessageMoveTasks, ListDeadLetterSourceQueues and SendMessage, sns:Publish, lambda:InvokeFunction, and
dynamodb:GetShardIterator and GetRecords, of what the queue at hand needs.

Exit codes: 0 done; 1 something could not be put back; 2 the command line, or the home is not there.`

type redriveFlags struct {
	clientFlags
	all, asJSON bool
	show        int
}

func newRedrive(t *terminal) *cobra.Command {
	var f redriveFlags
	c := &cobra.Command{
		Use: "redrive [QUEUE | ID]…", Short: "List dead letters with their reasons, or put them back", Long: redriveHelp,
		Example: "  flavorless redrive\n  flavorless redrive --all\n  flavorless redrive 17 18\n  flavorless redrive --stack flavorless-dev\n  flavorless redrive --stack flavorless-dev --profile work apply-dead ingest-dead",
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), t, args, c.Flags().Changed("data"))
		},
	}
	f.addHome(c)
	wideFlag(c, t)
	c.Flags().BoolVar(&f.all, "all", false, "put back what is in every queue")
	c.Flags().IntVar(&f.show, "show", 10, "how many messages of each queue to list")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one line of JSON a queue")
	return c
}

func (f *redriveFlags) run(ctx context.Context, t *terminal, what []string, named bool) error {
	switch {
	case f.all && len(what) > 0:
		return usage("--all is every queue; name some, or say --all")
	case f.show < 0:
		return usage("--show is %d; it can't be negative", f.show)
	}
	conn, err := f.locate(ctx, named)
	if err != nil {
		return err
	}
	var dead operator.DeadLetters = conn.stack
	isQueue := func(name string) bool { return slices.Contains(dead.DeadQueues(), name) }
	if conn.stack == nil {
		if conn.info.Control == "" {
			return usage("redriving needs the data folder of the server, not only its URL; say which with --data")
		}
		server, err := control.Open(ctx, conn.info.API, conn.info.Control)
		var unreachable *url.Error
		if errors.As(err, &unreachable) {
			return conn.silent(conn.info.API, unreachable.Err)
		}
		if err != nil {
			return err
		}
		dead, isQueue = server, server.HasQueue
	}
	for _, w := range what {
		switch _, bad := strconv.ParseUint(w, 10, 64); {
		case bad == nil && conn.stack != nil:
			return usage("messages of a stack have no ids; name queues: %s", strings.Join(dead.DeadQueues(), ", "))
		case bad != nil && !isQueue(w):
			return usage("there is no dead-letter queue %q; there are %s", w, strings.Join(dead.DeadQueues(), ", "))
		}
	}
	if f.all {
		what = dead.DeadQueues()
	}
	if len(what) > 0 {
		return f.redrive(ctx, t, dead, what)
	}
	return f.list(ctx, t, conn, dead)
}

// list shows what is in the queues, and leaves it there.
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
			row := []string{d.Queue, l.Sent.Local().Format(time.DateTime), visible(l.Subject), visible(l.Reason)}
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
		head := []column{{name: "QUEUE", min: 12}, {name: "SINCE"}, {name: "WHAT", min: 12}, {name: "WHY", min: 12, wrap: true}}
		if conn.stack == nil {
			head = append([]column{{name: "ID"}, {name: "TRIES"}}, head...)
		}
		t.table("", head, letters)
		t.printf("\nOnce the cause is gone, put them back: flavorless redrive%s --all\n", f.homeFlags(conn))
	}
	return nil
}

// redrive puts back what is in these queues, or these messages. What goes wrong with one does not keep it from the next.
func (f *redriveFlags) redrive(ctx context.Context, t *terminal, dead operator.DeadLetters, what []string) error {
	code := exitOK
	for _, name := range what {
		var line statusLine
		r, err := dead.Redrive(ctx, name, func(n int64) { line.text(t, fmt.Sprintf("%s: %d put back", name, n)) })
		line.clear(t)
		if err != nil {
			r.Failures = append(r.Failures, err.Error())
		}
		if len(r.Failures) > 0 {
			code = exitFailed
		}
		if err := f.redriven(t, r); err != nil {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if code != exitOK {
		return &exit{code: code}
	}
	return nil
}

func (f *redriveFlags) redriven(t *terminal, r operator.RedriveResult) error {
	if f.asJSON {
		return t.json(r)
	}
	t.printf("%s: %d put back\n", r.Queue, r.Restored)
	for _, failure := range r.Failures {
		t.errorf("%s: %s", r.Queue, visible(failure))
	}
	return nil
}
