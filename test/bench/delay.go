package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil/program"
)

// The promised medians.
const (
	promisedDelay       = 250 * time.Millisecond
	promisedChangeDelay = 300 * time.Millisecond
)

// delay measures a file of one row: from the first byte of the PUT until GET /ice-cream/{person} returns the new
// flavor, until GET /uploads/{id} returns live, and until a subscriber has received the change. It uploads one file
// after the other to an idle server.
func delay(ctx context.Context, dir string, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("delay", flag.ContinueOnError)
	repeat := flags.Int("repeat", 101, "`number` of uploads; the median and the slowest are shown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	server, err := local.Start(ctx, local.Config{Dir: data, Log: warnings()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop(ctx)) }()
	d, err := newDelays(server, data)
	if err != nil {
		return err
	}
	defer d.nc.Close()

	waits := []struct {
		name     string
		promised time.Duration
		took     []time.Duration
	}{
		{name: "the person's new flavor is read", promised: promisedDelay},
		{name: "the upload is live", promised: promisedDelay},
		{name: "a subscriber has the change", promised: promisedChangeDelay},
	}
	for i := range *repeat {
		took, err := d.one(ctx, i)
		if err != nil {
			return err
		}
		for j := range waits {
			waits[j].took = append(waits[j].took, took[j])
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "from the PUT of one row until\tmedian of %d\tslowest\tpromised\t\n", *repeat)
	var missed []error
	for _, w := range waits {
		slices.Sort(w.took)
		middle := w.took[len(w.took)/2]
		fmt.Fprintf(table, "%s\t%.1f ms\t%.1f ms\t%d ms\t\n", w.name, middle.Seconds()*1e3,
			w.took[len(w.took)-1].Seconds()*1e3, w.promised.Milliseconds())
		if middle > w.promised {
			missed = append(missed, fmt.Errorf("the time until %s is %s, more than %s", w.name, middle, w.promised))
		}
	}
	return errors.Join(append(missed, table.Flush())...)
}

// delays is a client that uploads, reads and subscribes.
type delays struct {
	server *local.Server
	bearer string
	nc     *nats.Conn
	sub    *nats.Subscription
}

func newDelays(server *local.Server, dir string) (*delays, error) {
	token, err := program.Token(dir, server.Info())
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(server.Info().NATS, nats.UserInfo(server.Info().NATSUser, server.Info().NATSPassword))
	if err != nil {
		return nil, err
	}
	sub, err := nc.SubscribeSync(events.ChangeType + ".>")
	if err == nil {
		err = nc.Flush()
	}
	return &delays{server: server, bearer: "Bearer " + token, nc: nc, sub: sub}, err
}

// one uploads a row, and returns how long it took until it was read, live, and announced.
func (d *delays) one(ctx context.Context, i int) (took [3]time.Duration, err error) {
	flavor := fmt.Sprintf("flavor %d", i)
	start := time.Now()
	announced := make(chan error, 1)
	go func() {
		m, err := d.sub.NextMsgWithContext(ctx)
		took[2] = time.Since(start)
		if err == nil {
			var c events.Change
			if c, err = events.DecodeChange(m.Data); err == nil && c.Flavor != flavor {
				err = fmt.Errorf("received the change %+v, want one to %s", c, flavor)
			}
		}
		announced <- err
	}()
	if _, err := d.server.S3().PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(d.server.Info().Bucket), Key: aws.String("uploads/one.csv"),
		Body: strings.NewReader("person,flavor\nandy," + flavor + "\n"),
	}); err != nil {
		return took, err
	}
	var favorite struct{ Flavor string }
	if err := d.until(ctx, "/ice-cream/andy", &favorite, func() bool { return favorite.Flavor == flavor }); err != nil {
		return took, err
	}
	took[0] = time.Since(start)
	var page struct {
		Uploads []struct{ Status events.Status }
	}
	if err := d.until(ctx, "/uploads?limit=1", &page, func() bool {
		return len(page.Uploads) == 1 &&
			page.Uploads[0].Status == events.Live
	}); err != nil {
		return took, err
	}
	took[1] = time.Since(start)
	return took, <-announced
}

// until polls a route every millisecond.
func (d *delays) until(ctx context.Context, path string, v any, done func() bool) error {
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.server.Info().API+path, nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", d.bearer)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		err = json.NewDecoder(resp.Body).Decode(v)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound:
			return fmt.Errorf("%s: %s", path, resp.Status)
		case done():
			return nil
		}
	}
	return ctx.Err()
}
