package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
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

const demoHelp = `Start the whole pipeline on free ports with its data in a temporary folder. Upload a team
as CSV, and then corrections as JSON, with a bad row and a removal. Show what happens at
each step. The demo deletes the folder at its end; with --keep it runs until Ctrl-C.`

func newDemo(t *terminal) *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use: "demo", Short: "See everything at work in a temporary folder", Long: demoHelp,
		Example: "  flavorless demo\n  flavorless demo --keep",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "flavorless-demo-")
			if err != nil {
				return usage("creating a temporary folder: %w; set TMPDIR to a folder that you can write to", err)
			}
			defer os.RemoveAll(dir)
			ctx, stop := untilHangup(c.Context())
			defer stop()
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			piped := *t
			piped.out = &pipe{t.out, cancel}
			err = demo(ctx, &piped, dir, keep)
			if errors.Is(context.Cause(ctx), syscall.EPIPE) {
				return nil // as under head: the reader has seen enough
			}
			return err
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "keep the server running after the demo, until Ctrl-C")
	return c
}

func demo(ctx context.Context, t *terminal, dir string, keep bool) error {
	t.printf("Starting the bucket, the topics, the table and the API. Their data is in\n%s.\n", dir)
	cfg := local.Config{
		Dir: filepath.Join(dir, "data"), API: "127.0.0.1:0", S3: "127.0.0.1:0", NATS: "127.0.0.1:0",
		Log: slog.New(slog.NewTextHandler(t.err, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	server, err := local.Start(ctx, cfg)
	if err != nil {
		return startError(err)
	}
	d := &walkthrough{terminal: t, dir: dir, data: cfg.Dir}
	err = d.run(ctx, server.Info())
	if err == nil && keep {
		d.printCommands(server.Info())
		<-ctx.Done()
	}
	if err := errors.Join(err, stopServer(ctx, server)); err != nil {
		return fmt.Errorf("running the demo: %w", err)
	}
	if !keep {
		t.printf("\nThe demo is over, and its folder is deleted. Next, try: flavorless serve, or flavorless --help\n")
	}
	return nil
}

// walkthrough uploads the demo's files, and prints each step and its effects.
type walkthrough struct {
	*terminal
	dir, data string
	conn      *connection
	changes   *nats.Subscription
	step      int
}

func (d *walkthrough) run(ctx context.Context, info local.Info) error {
	var err error
	if d.conn, err = (clientFlags{data: dataDir{d.data, true}}).connect(ctx); err != nil {
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

	d.title("Upload the team as CSV")
	if err := d.upload(ctx, "team.csv"); err != nil {
		return err
	}
	d.title("Read the team with a token")
	if err := d.show(ctx, "/team"); err != nil {
		return err
	}
	d.title("Upload corrections as JSON: a new flavor, a removal (null), a bad row, a new person")
	if err := d.upload(ctx, "corrections.json"); err != nil {
		return err
	}
	d.title("Read the corrected favorites")
	for _, route := range []string{"/ice-cream/andy", "/ice-cream/shane", "/team"} {
		if err := d.show(ctx, route); err != nil {
			return err
		}
	}
	return nil
}

func (d *walkthrough) title(s string) {
	d.step++
	d.printf("\n%s\n\n", d.style(bold, fmt.Sprintf("%d. %s", d.step, s)))
}

// upload uploads one of the demo's files, and prints its text, the result, and the changes that were announced.
func (d *walkthrough) upload(ctx context.Context, name string) error {
	text, err := demoFiles.ReadFile("demo/" + name)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		d.printf("   %s %s\n", d.style(dim, "|"), strings.TrimRight(line, "\n"))
	}
	file := filepath.Join(d.dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return usage("writing a file of the demo: %w", err)
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
	return d.showChanges(ctx, countDifferences(before, after))
}

// countDifferences returns the number of people with different flavors in the two teams.
func countDifferences(before, after map[string]string) int {
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

// showChanges waits until a subscriber has received this number of changes, and prints them.
func (d *walkthrough) showChanges(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	d.printf("\nSubscribers receive these changes (with any NATS client, on the subject flavorless.change.>):\n")
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

// show prints the curl command of a route, and its answer.
func (d *walkthrough) show(ctx context.Context, route string) error {
	status, body, err := d.conn.raw(ctx, route)
	if err != nil {
		return err
	}
	d.printf("%s curl -H \"Authorization: Bearer $FLAVORLESS_TOKEN\" $FLAVORLESS_URL%s\n%s %s\n",
		d.style(cyan, "$"), route, d.style(dim, status), strings.TrimSpace(body))
	return nil
}

func (d *walkthrough) printCommands(info local.Info) {
	d.title("Try it yourself; the server runs until Ctrl-C")
	d.printf("In another terminal:\n  eval \"$(flavorless env --data %s)\"\n  flavorless upload FILE\n  flavorless team\n",
		d.data)
	d.printf("  aws s3 cp FILE \"s3://$FLAVORLESS_BUCKET/uploads/\"\n")
	d.printf("  curl -H \"Authorization: Bearer $FLAVORLESS_TOKEN\" %s/team\n", info.API)
}
