package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/flavorless/flavorless/api"
	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/jwks"
	"github.com/flavorless/flavorless/internal/local"
)

// The promises: the ratio of the idle rates, and how much the p99 may grow while rows are applied.
const (
	promisedRate  = 0.5
	promisedWorse = 5
)

// readLoad reads random people with GET /ice-cream/{person} as fast as the machine allows: over persistent
// connections, each of which sends the next request as soon as it has a response. The load generator uses the same
// CPUs. The reference is a bare handler that verifies the same token with the same code, and responds with a
// constant. Both are processes of their own. Then it does the same while an upload is being applied.
func readLoad(ctx context.Context, dir string, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	people := flags.Int("people", 1_000_000, "`number` of people in the table, and rows of the upload")
	seconds := flags.Int("seconds", 10, "`seconds` of each measurement without an upload")
	connections := flags.Int("connections", 8, "`number` of connections at the same time")
	repeat := flags.Int("repeat", 3, "`number` of measurements, in turns; medians are shown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := startServer(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	bare, err := startChild(ctx, bareArgument, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	upload := func(name string, changed int) error {
		u, err := server.upload(ctx, "uploads/"+name+".csv", bytes.NewReader(favorites(*people, changed)))
		if err == nil && (u.Status != events.Live || u.Counts.Applied+u.Counts.Unchanged != int64(*people)) {
			err = fmt.Errorf("the upload did not apply all rows: %+v", u)
		}
		return err
	}
	progress("loading %d people", *people)
	if err := upload("first", 0); err != nil {
		return err
	}

	readers := map[string]*readers{}
	for name, base := range map[string]string{"bare": bare.url, "ours": server.info.API} {
		if readers[name], err = newReaders(base, server.bearer, *people, *connections); err != nil {
			return err
		}
	}
	results := map[string][]answered{}
	for round := range *repeat {
		for _, name := range []string{"bare", "ours"} {
			progress("%s, idle, %d of %d", name, round+1, *repeat)
			enough, cancel := context.WithTimeout(ctx, time.Duration(*seconds)*time.Second)
			r, err := readers[name].run(enough)
			cancel()
			if err != nil {
				return err
			}
			results[name+", idle"] = append(results[name+", idle"], r)
		}
		for _, name := range []string{"bare", "ours"} {
			progress("%s, while %d rows are applied, %d of %d", name, *people, round+1, *repeat)
			enough, cancel := context.WithCancel(ctx)
			uploaded := make(chan error, 1)
			go func() {
				uploaded <- upload(fmt.Sprint(name, round), *people/100*(round+1))
				cancel()
			}()
			r, err := readers[name].run(enough)
			cancel()
			if err := errors.Join(err, <-uploaded); err != nil {
				return err
			}
			results[name+", applying"] = append(results[name+", applying"], r)
		}
	}
	return loadTable(out, results)
}

func loadTable(out io.Writer, results map[string][]answered) error {
	of := func(name string, what func(answered) float64) float64 {
		var all []float64
		for _, r := range results[name] {
			all = append(all, what(r))
		}
		return median(all)
	}
	rate := func(a answered) float64 { return float64(len(a.took)) / a.in.Seconds() }
	percentile := func(p int) func(answered) float64 {
		return func(a answered) float64 { return a.took[len(a.took)*p/100].Seconds() * 1e3 }
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "GET /ice-cream/{person}\treads/s\tof bare's\tp50\tp99\tof its p99 idle\t\n")
	for _, name := range []string{"bare, idle", "ours, idle", "bare, applying", "ours, applying"} {
		idle := name[:len("bare")] + ", idle"
		fmt.Fprintf(table, "%s\t%.0f\t%.0f %%\t%.2f ms\t%.2f ms\t%.1f ×\t\n", name, of(name, rate),
			100*of(name, rate)/of("bare"+name[len("bare"):], rate),
			of(name, percentile(50)), of(name, percentile(99)), of(name, percentile(99))/of(idle, percentile(99)))
	}
	fmt.Fprintf(table, "promised of ours\t\t%.0f %%, idle\t\t\t%d ×\t\n", 100*promisedRate, promisedWorse)
	var missed []error
	if r := of("ours, idle", rate) / of("bare, idle", rate); r < promisedRate {
		missed = append(missed, fmt.Errorf("reads reach %.0f %% of the bare handler's rate", 100*r))
	}
	if r := of("ours, applying", percentile(99)) / of("ours, idle", percentile(99)); r > promisedWorse {
		missed = append(missed, fmt.Errorf("while rows are applied, the p99 of reads is %.1f × what it is otherwise", r))
	}
	return errors.Join(append(missed, table.Flush())...)
}

// answered has the sorted durations of the reads, and the time that all of them took together.
type answered struct {
	took []time.Duration
	in   time.Duration
}

// readers read random people. The requests are prepared, because the load generator shares the CPUs with the server.
type readers struct {
	address  string
	requests [][]byte
	n        int
}

func newReaders(base, bearer string, people, n int) (*readers, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	r := &readers{address: u.Host, n: n}
	for range 100_000 {
		person := url.PathEscape(fmt.Sprintf("person %07d", rand.IntN(people)))
		r.requests = append(r.requests, fmt.Appendf(nil,
			"GET /ice-cream/%s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n", person, u.Host, bearer))
	}
	return r, nil
}

// run reads until ctx ends.
func (r *readers) run(ctx context.Context) (answered, error) {
	start := time.Now()
	all, errs := make([][]time.Duration, r.n), make([]error, r.n)
	var wg sync.WaitGroup
	for i := range r.n {
		wg.Go(func() { all[i], errs[i] = r.one(ctx, i) })
	}
	wg.Wait()
	took := slices.Concat(all...)
	slices.Sort(took)
	if len(took) == 0 {
		errs = append(errs, errors.New("nothing was read"))
	}
	return answered{took, time.Since(start)}, errors.Join(errs...)
}

func (r *readers) one(ctx context.Context, first int) (took []time.Duration, err error) {
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i := first * len(r.requests) / r.n; ctx.Err() == nil; i++ {
		start := time.Now()
		if _, err := conn.Write(r.requests[i%len(r.requests)]); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return nil, err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || n == 0 {
			return nil, fmt.Errorf("%s, a body of %d bytes, error %w", resp.Status, n, err)
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// bareArgument makes this program the bare handler, for tokens of the data folder in the next argument.
const bareArgument = "bare-api"

const bareResponse = `{"person":"person 0000000","flavor":"mint chocolate chip",` +
	`"updated":"2026-11-23T08:19:00.123Z","upload":"5v2kq3z8m1d7xw0rjt4ybn6c9e"}`

func serveBare() error {
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(flag.Arg(1))})
	if err != nil {
		return err
	}
	info, err := local.ReadInfo(flag.Arg(1))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	keys, err := jwks.New(jwks.Config{URI: "http://" + listener.Addr().String() + issuer.JWKSPath})
	if err != nil {
		return err
	}
	verifier, err := api.NewVerifier(api.VerifierConfig{Issuer: is.Name(), Audience: info.Audience, Keys: keys})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(issuer.JWKSPath, is)
	mux.HandleFunc("GET /ice-cream/{person}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := verifier.Verify(r.Context(), r.Header.Get("Authorization")); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, bareResponse)
	})
	return serveChild(listener, mux)
}
