package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
)

//go:embed demo
var demoFiles embed.FS

func newDemo(t *terminal) *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use: "demo", Short: "See all of it at work, in a temporary folder",
		Long: `Start the whole pipeline on free ports in a temporary folder, upload the talk's team as CSV and then corrections as JSON
(with a bad row and a removal), and show what happens at each step. Nothing is left behind, unless you --keep it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "flavorless-demo-")
			if err != nil {
				return usage("%w", err)
			}
			defer os.RemoveAll(dir)
			// The folder must not stay because the terminal is closed, or the pipe that the output goes into.
			signal.Ignore(syscall.SIGPIPE)
			ctx := c.Context()
			if !signal.Ignored(syscall.SIGHUP) { // as under nohup
				var stop context.CancelFunc
				ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
				defer stop()
			}
			ctx, enough := context.WithCancelCause(ctx)
			defer enough(nil)
			piped := *t
			piped.out = &pipe{t.out, enough}
			err = demo(ctx, &piped, dir, keep)
			if errors.Is(context.Cause(ctx), syscall.EPIPE) {
				return nil // the reader has seen enough
			}
			return err
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "leave it running afterwards, until Ctrl-C")
	return c
}

// pipe calls broken with the error when nobody reads what is written any more.
type pipe struct {
	io.Writer
	broken context.CancelCauseFunc
}

func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.broken(err)
	}
	return n, err
}

func demo(ctx context.Context, t *terminal, dir string, keep bool) error {
	data := filepath.Join(dir, "data")
	server, err := local.Start(ctx, local.Config{
		Dir: data, API: "127.0.0.1:0", S3: "127.0.0.1:0", NATS: "127.0.0.1:0",
		Log: slog.New(slog.NewTextHandler(t.err, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return surroundings(err)
	}
	d := &story{terminal: t, dir: dir, data: data}
	err = d.tell(ctx, server.Info())
	if err == nil && keep {
		d.goOn(server.Info())
		<-ctx.Done()
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := errors.Join(err, server.Stop(stopping)); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if !keep {
		t.printf("\nThat was it; all is stopped and cleaned up. Next: flavorless serve, or flavorless --help.\n")
	}
	return nil
}

// story tells what happens while it does.
type story struct {
	*terminal
	dir, data string
	conn      *connection
	changes   *nats.Subscription
	chapter   int
}

func (d *story) tell(ctx context.Context, info local.Info) error {
	var err error
	if d.conn, err = (clientFlags{data: d.data}).connect(ctx, true); err != nil {
		return err
	}
	nc, err := nats.Connect(info.NATS, nats.UserInfo(info.NATSUser, info.NATSPassword), nats.Name("flavorless demo"))
	if err != nil {
		return fmt.Errorf("subscribing to changes: %w", err)
	}
	defer nc.Close()
	if d.changes, err = nc.SubscribeSync(events.ChangeType + ".>"); err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return fmt.Errorf("subscribing to changes: %w", err)
	}

	d.printf("%s\n", d.style(bold, "Favorite ice-cream flavors, from a file to a read API"))
	d.printf("The bucket, the topics, the table and the API run in this one process; their files are in\n%s.\n", d.dir)

	d.title("Someone uploads the team as CSV")
	if err := d.upload(ctx, "team.csv"); err != nil {
		return err
	}
	d.title("Whoever has a token reads the team")
	if err := d.show(ctx, "/team"); err != nil {
		return err
	}
	d.title("Corrections come as JSON: one flavor changes, null removes a person, one row is bad, one person is new")
	if err := d.upload(ctx, "corrections.json"); err != nil {
		return err
	}
	d.title("The read API has them already")
	for _, route := range []string{"/ice-cream/andy", "/ice-cream/shane", "/team"} {
		if err := d.show(ctx, route); err != nil {
			return err
		}
	}
	return nil
}

func (d *story) title(s string) {
	d.chapter++
	d.printf("\n%s\n\n", d.style(bold, fmt.Sprintf("%d. %s", d.chapter, s)))
}

// upload uploads one of the demo's files, and shows its text, its report, and the changes that were announced.
func (d *story) upload(ctx context.Context, name string) error {
	text, err := demoFiles.ReadFile("demo/" + name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		d.printf("   %s %s\n", d.style(dim, "|"), strings.TrimRight(line, "\n"))
	}
	file := filepath.Join(d.dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return usage("%w", err)
	}
	before := map[string]string{}
	if _, err := d.conn.get(ctx, "/team", &before); err != nil {
		return err
	}
	d.printf("\n%s flavorless upload %s\n", d.style(cyan, "$"), name)
	if _, err := (&uploadFlags{}).upload(ctx, d.terminal, d.conn, source{file, uploadsPrefix + name}, false); err != nil {
		return err
	}
	after := map[string]string{}
	if _, err := d.conn.get(ctx, "/team", &after); err != nil {
		return err
	}
	return d.announced(ctx, differences(before, after))
}

// differences counts the people whose flavor is another now.
func differences(before, after map[string]string) int {
	people := maps.Clone(before)
	maps.Copy(people, after)
	n := 0
	for person := range people {
		if before[person] != after[person] {
			n++
		}
	}
	return n
}

// announced shows the changes that a subscriber gets, and waits for as many as there must be.
func (d *story) announced(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	d.printf("\nSubscribers are told what changed (any NATS client, subject flavorless.change.>):\n")
	var lines []string
	for range want {
		m, err := d.changes.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("waiting for %d changes: %w", want, err)
		}
		c, err := events.DecodeChange(m.Data)
		if err != nil {
			return err
		}
		lines = append(lines, "  "+d.change(c))
	}
	slices.Sort(lines)
	d.printf("%s\n", strings.Join(lines, "\n"))
	return nil
}

// show reads a route of the API as curl would.
func (d *story) show(ctx context.Context, route string) error {
	status, body, err := d.conn.raw(ctx, route)
	if err != nil {
		return err
	}
	d.printf("%s curl -H \"Authorization: Bearer $FLAVORLESS_TOKEN\" $FLAVORLESS_URL%s\n%s %s\n", d.style(cyan, "$"), route, d.style(dim, status), strings.TrimSpace(body))
	return nil
}

func (d *story) goOn(info local.Info) {
	d.title("It goes on running, until Ctrl-C")
	d.printf("In another terminal:\n  eval \"$(flavorless env --data %s)\"\n  flavorless upload FILE\n  flavorless team\n", d.data)
	d.printf("  aws s3 cp FILE \"s3://$FLAVORLESS_BUCKET/uploads/\"\n  curl -H \"Authorization: Bearer $FLAVORLESS_TOKEN\" %s/team\n", info.API)
}
