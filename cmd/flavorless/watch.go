package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/stack"
)

const watchHelp = `Show changes of people's favorites as they are announced, one a line, until Ctrl-C. A change that comes twice is shown once.
Filters of one kind add up (andy or bill), different ones narrow down (andy, and only if removed).

For a deployed stack it makes an SQS queue of its own, named ` + stack.WatchPrefix + `…, subscribes it to the changes topic with the filters
as its policy, and removes both at the end. It needs permission for sqs:CreateQueue, ReceiveMessage, DeleteMessage and
DeleteQueue on such queues, and sns:Subscribe and Unsubscribe on the topic.

Exit codes: 0 stopped, or --count reached; 1 it could not go on, or --timeout came before --count; 2 the home is not there.`

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
		Example: "  flavorless watch\n  flavorless watch --person andy --person bill --kind changed\n  flavorless watch --since 1h --json | jq .person\n" +
			"  flavorless watch --stack flavorless-dev --profile work\n  flavorless watch --stack flavorless-dev --person andy --count 1 --timeout 5m",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c.Context(), t, c.Flags().Changed("data"))
		},
	}
	f.addHome(c)
	flags := c.Flags()
	flags.StringArrayVar(&f.persons, "person", nil, "only changes of this person (can be repeated)")
	flags.StringArrayVar(&f.flavors, "flavor", nil, "only changes to this flavor (can be repeated)")
	flags.StringSliceVar(&f.kinds, "kind", nil, "only changes of this kind: created, changed or removed (can be repeated)")
	flags.BoolVar(&f.asJSON, "json", false, "print each change as a line of JSON")
	flags.DurationVar(&f.since, "since", 0, "begin with the changes of so long ago, such as 1h (not with --stack: SNS keeps nothing)")
	flags.IntVar(&f.count, "count", 0, "stop after so many changes (0: never)")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop after so long, such as 10m (0: never)")
	return c
}

// filter brings names to the form in which they are stored.
func (f *watchFlags) filter() (filter events.Filter, err error) {
	if f.since < 0 || f.timeout < 0 || f.count < 0 {
		return filter, usage("--since, --timeout and --count can't be negative")
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
			return filter, usage("--kind is %q; it can be created, changed or removed", kind)
		}
	}
	return filter, err
}

func (f *watchFlags) run(ctx context.Context, t *terminal, named bool) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	conn, err := f.locate(ctx, named)
	if err != nil {
		return err
	}
	if f.since > 0 && conn.stack != nil {
		return usage("--since is for a server on this machine: SNS keeps nothing of what was")
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	// Nothing may stay behind because the terminal is closed, or the pipe that the changes go into: the one is as good as
	// Ctrl-C, the other shows when the next change is printed.
	signal.Ignore(syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	known := &recently[string]{}
	shown := 0
	each := func(c events.Change) error {
		if f.count > 0 && shown == f.count || !known.add(c.ID()) {
			return nil
		}
		if shown++; shown == f.count {
			enough()
		}
		err := t.showChange(c, f.asJSON)
		if errors.Is(err, syscall.EPIPE) { // who reads has seen enough
			enough()
			return nil
		}
		return err
	}
	if conn.stack != nil {
		err = conn.stack.Watch(ctx, filter, func() { t.errorf("watching the changes of %s; stop with Ctrl-C", conn.stack.Name()) }, each)
	} else {
		err = conn.watch(ctx, t, filter, f.since, each)
	}
	if err == nil && shown < f.count && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s within %s, not %d", count(int64(shown), "change"), f.timeout, f.count)
	}
	return err
}

// showChange prints one change, with the time of the upload that it came by.
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

// watch hands over the changes of the server on this machine until ctx ends or each fails. It goes on through a restart of
// the server, behind the last change that it saw.
func (c *connection) watch(ctx context.Context, t *terminal, filter events.Filter, since time.Duration, each func(events.Change) error) error {
	if c.info.NATS == "" {
		return usage("FLAVORLESS_NATS_URL is not set, which tells where changes are announced; set it with: eval \"$(flavorless env)\"")
	}
	// A request that is not allowed gets no response, but the connection an error.
	subscribing, forbidden := context.WithCancelCause(ctx)
	defer forbidden(nil)
	options := []nats.Option{
		nats.Name("flavorless watch"), nats.MaxReconnects(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				t.errorf("the server is gone (%v); trying again until it is back", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { // others come back from Next
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
		return c.silent("the address of changes", err)
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
		return nil // told to stop
	}
	if cause := context.Cause(subscribing); cause != nil {
		return usage("subscribing to the changes is not allowed (%w); the address with the right user comes from: flavorless env", cause)
	}
	if errors.Is(err, jetstream.ErrMaximumConsumersLimit) {
		return errors.New("too many NATS clients are reading the changes; try again in a minute, when the server has deleted " +
			"consumers that nobody uses")
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
			return nil // told to stop
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
			if err := each(change); err != nil {
				return err
			}
		}
	}
}

// deleteConsumer deletes a consumer of the changes that is no longer needed, so that it does not count against the server's
// limit. The server deletes it later if this fails.
func deleteConsumer(nc *nats.Conn, js jetstream.JetStream, consumer jetstream.Consumer) {
	if !nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = js.DeleteConsumer(ctx, "CHANGES", consumer.CachedInfo().Name)
}

// recently remembers the latest of what was added, at least so many as generation says and at most twice as many.
type recently[T comparable] struct{ young, old map[T]bool }

const generation = 10_000

// add tells whether v is new.
func (r *recently[T]) add(v T) bool {
	if r.young[v] || r.old[v] {
		return false
	}
	if r.young == nil || len(r.young) == generation {
		r.young, r.old = map[T]bool{}, r.young
	}
	r.young[v] = true
	return true
}
