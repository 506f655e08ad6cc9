package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/stack"
)

const watchHelp = `Show changes of people's favorites as they are announced, one per line, until Ctrl-C. A change
that arrives twice is shown once. With several --person flags, show the changes of any of these
people; --flavor and --kind work the same way. With different filters, show only the changes
that match all of them.

For a deployed stack, watch creates an SQS queue, named ` + stack.WatchPrefix + `…, and subscribes
it to the changes topic with your filters. At the end, it deletes both. You need permission for
sqs:CreateQueue, ReceiveMessage, DeleteMessage and DeleteQueue on such queues, and for
sns:Subscribe and Unsubscribe on the topic.

Exit codes: 0 stopped, or --count reached; 1 failed, or --timeout before --count; 2 usage or
environment error.`

type watchFlags struct {
	clientFlags
	persons, flavors, kinds []string
	asJSON                  bool
	since, timeout          time.Duration
	count                   int
}

func newWatch(t *terminal) *cobra.Command {
	var f watchFlags
	c := &cobra.Command{
		Use: "watch", Short: "Show changes as they are announced", Long: watchHelp,
		Example: "  flavorless watch\n  flavorless watch --person andy --person bill --kind changed\n" +
			"  flavorless watch --since 1h --json | jq .person\n" +
			"  flavorless watch --stack flavorless-dev --profile work\n" +
			"  flavorless watch --stack flavorless-dev --person andy --count 1 --timeout 5m",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c.Context(), t)
		},
	}
	f.addTarget(c)
	flags := c.Flags()
	flags.StringArrayVar(&f.persons, "person", nil, "show only changes of this person (repeatable)")
	flags.StringArrayVar(&f.flavors, "flavor", nil, "show only changes to this flavor (repeatable)")
	flags.StringSliceVar(&f.kinds, "kind", nil, "show only changes of this kind: created, changed or removed (repeatable)")
	flags.BoolVar(&f.asJSON, "json", false, "print each change as one line of JSON")
	flags.DurationVar(&f.since, "since", 0,
		"start with the changes of this long ago, such as 1h (not with --stack, because SNS stores no messages)")
	flags.IntVar(&f.count, "count", 0, "stop after this number of changes (0: never)")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop after this long, such as 10m (0: never)")
	return c
}

// filter returns the filter for the flags, with names in the form in which they are stored.
func (f *watchFlags) filter() (filter events.Filter, err error) {
	switch {
	case f.since < 0:
		return filter, usage("--since %s is negative; give a duration such as 1h", f.since)
	case f.timeout < 0:
		return filter, usage("--timeout %s is negative; give a duration such as 10m", f.timeout)
	case f.count < 0:
		return filter, usage("--count %d is negative; give the number of changes", f.count)
	}
	names := func(flag string, raw []string) (clean []string) {
		for _, name := range raw {
			name, bad := events.CleanName(name, "--"+flag, events.MissingPerson)
			if bad != nil && err == nil {
				err = usage("%w", bad)
			}
			clean = append(clean, name)
		}
		return clean
	}
	filter.Persons, filter.Flavors = names("person", f.persons), names("flavor", f.flavors)
	for _, kind := range f.kinds {
		switch k := events.Kind(kind); k {
		case events.Created, events.Changed, events.Removed:
			filter.Kinds = append(filter.Kinds, k)
		default:
			return filter, usage("--kind %q is not a kind of change; give created, changed or removed", kind)
		}
	}
	return filter, err
}

func (f *watchFlags) run(ctx context.Context, t *terminal) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	conn, err := f.locate(ctx)
	if err != nil {
		return err
	}
	if f.since > 0 && conn.stack != nil {
		return usage("--since needs a server on this machine, because SNS stores no messages; leave it out with --stack")
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	// The queue of a stack must be deleted even if the terminal or the output is closed.
	ctx, stop := untilHangup(ctx)
	defer stop()
	ctx, finish := context.WithCancel(ctx)
	defer finish()
	seen := &recentSet[string]{}
	shown := 0
	show := func(c events.Change) error {
		if f.count > 0 && shown == f.count || !seen.add(c.ID()) {
			return nil
		}
		if shown++; shown == f.count {
			finish()
		}
		err := t.showChange(c, f.asJSON)
		if errors.Is(err, syscall.EPIPE) { // as under head: the reader has seen enough
			finish()
			return nil
		}
		return err
	}
	if conn.stack != nil {
		ready := func() { t.errorf("watching the changes of %s; stop with Ctrl-C", conn.stack.Name()) }
		err = conn.stack.Watch(ctx, filter, ready, show)
	} else {
		err = conn.watch(ctx, t, filter, f.since, show)
	}
	if err == nil && shown < f.count && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s arrived within %s, but --count is %d", count(int64(shown), "change"), f.timeout, f.count)
	}
	return err
}

// showChange prints one change, with the time of the upload that caused it.
func (t *terminal) showChange(c events.Change, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprintf(t.out, "%s  %s\n", t.style(dim, c.Version.Time().Local().Format(time.DateTime)), t.change(c))
		return err
	}
	orNull := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return t.json(struct {
		Kind     events.Kind    `json:"kind"`
		Person   string         `json:"person"`
		Flavor   *string        `json:"flavor"`
		Previous *string        `json:"previous"`
		Version  events.Version `json:"version"`
		Upload   string         `json:"upload"`
	}{c.Kind, c.Person, orNull(c.Flavor), orNull(c.Previous), c.Version, c.UploadID()})
}

// watch calls show for the changes of the server on this machine until ctx ends or show fails. When the server
// restarts, it continues after the last change that it received.
func (c *connection) watch(
	ctx context.Context, t *terminal, filter events.Filter, since time.Duration, show func(events.Change) error,
) error {
	if c.info.NATS == "" {
		return usage("FLAVORLESS_NATS_URL, the address for changes, is not set; set it with: eval \"$(flavorless env)\"")
	}
	// A request without permission gets no response; only the connection reports an error.
	subscribing, forbidden := context.WithCancelCause(ctx)
	defer forbidden(nil)
	options := []nats.Option{
		nats.Name("flavorless watch"), nats.MaxReconnects(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				t.errorf("the connection to the server is lost (%v); reconnecting", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { // Next returns the other errors
			if errors.Is(err, nats.ErrPermissionViolation) {
				forbidden(err)
			}
		}),
	}
	if c.info.NATSUser != "" {
		options = append(options, nats.UserInfo(c.info.NATSUser, c.info.NATSPassword))
	}
	nc, err := nats.Connect(c.info.NATS, options...)
	if err != nil {
		return c.unreachable("the address for changes", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy}
	if since > 0 {
		start := time.Now().Add(-since)
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &start
	}
	for _, kind := range filter.Kinds {
		config.FilterSubjects = append(config.FilterSubjects, events.ChangeType+"."+string(kind))
	}
	consumer, err := js.OrderedConsumer(subscribing, "CHANGES", config)
	if ctx.Err() != nil {
		return nil // stopped
	}
	if cause := context.Cause(subscribing); cause != nil {
		return usage("subscribing to the changes: the server denies permission (%w); "+
			"set FLAVORLESS_NATS_URL with: eval \"$(flavorless env%s)\"", cause, c.flags)
	}
	if errors.Is(err, jetstream.ErrMaximumConsumersLimit) {
		return errors.New("subscribing to the changes: too many NATS clients are reading them; " +
			"try again in a minute, when the server has deleted unused consumers")
	}
	if err != nil {
		return fmt.Errorf("subscribing to the changes: %w", err)
	}
	defer deleteConsumer(nc, js, consumer)
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("subscribing to the changes: %w", err)
	}
	defer messages.Stop()
	t.errorf("watching the changes; stop with Ctrl-C")
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil // stopped
		}
		if err != nil {
			return fmt.Errorf("waiting for changes: %w", err)
		}
		change, err := events.DecodeChange(m.Data())
		if err != nil {
			t.errorf("skipping a message on %s that is not a change: %v", m.Subject(), err)
			continue
		}
		if filter.Matches(change) {
			if err := show(change); err != nil {
				return err
			}
		}
	}
}

// deleteConsumer deletes a consumer of the changes, so that it no longer counts towards the server's limit. If this
// fails, the server deletes the consumer later.
func deleteConsumer(nc *nats.Conn, js jetstream.JetStream, consumer jetstream.Consumer) {
	if !nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = js.DeleteConsumer(ctx, "CHANGES", consumer.CachedInfo().Name)
}

// recentSet remembers the values added last: at least as many as generationSize, and at most twice as many.
type recentSet[T comparable] struct{ current, previous map[T]bool }

const generationSize = 10_000

// add reports whether v is new.
func (s *recentSet[T]) add(v T) bool {
	if s.current[v] || s.previous[v] {
		return false
	}
	if s.current == nil || len(s.current) == generationSize {
		s.current, s.previous = map[T]bool{}, s.current
	}
	s.current[v] = true
	return true
}
