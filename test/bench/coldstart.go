package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// promisedStart is the promised ratio of the cold start of a function to that of a bare handler.
const promisedStart = 1.6

// coldstart measures from the start of a function's process to its first response, with two events: one that needs no
// service, which shows the start alone, and one with work, which includes the first calls of services. The services
// are a fake on this machine, the token issuer is flavorless's own. The reference is a handler that does nothing. The
// programs are built like those that are deployed, but for this machine.
func coldstart(ctx context.Context, dir string, out io.Writer, args []string) (err error) {
	flags := flag.NewFlagSet("coldstart", flag.ContinueOnError)
	repeat := flags.Int("repeat", 51, "`number` of starts of each function, in turns; medians are shown")
	if err := flags.Parse(args); err != nil {
		return err
	}
	progress("building the functions")
	build := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "-trimpath", "-buildvcs=false",
		"-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=", "./cmd/lambda/...", "./test/bench/bare")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the functions (run this in the module's root): %w", err)
	}
	services, err := startFake(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, services.stop()) }()
	world, err := newWorld(ctx, services, dir)
	if err != nil {
		return err
	}
	defer world.issuer.Close()

	functions := []string{"bare", "ingest", "apply", "announce", "team", "lookup", "uploads", "authorizer"}
	took, worked := map[string][]float64{}, map[string][]float64{}
	progress("starting each of %d functions %d times", len(functions), *repeat)
	for round := range *repeat + 1 {
		for _, name := range functions {
			idle, err := world.idleEvent(name)
			if err != nil {
				return err
			}
			work, err := world.event(name, round)
			if err != nil {
				return err
			}
			for _, run := range []struct {
				event []byte
				took  map[string][]float64
			}{{idle, took}, {work, worked}} {
				d, err := firstAnswer(ctx, filepath.Join(dir, name), world.env(name), run.event)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if round > 0 { // the first round loads the programs into memory
					run.took[name] = append(run.took[name], d.Seconds()*1000)
				}
			}
		}
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "function\tstart to first answer\tof the bare handler's\tpromised\twith the first work\t\t")
	var missed []error
	for _, name := range functions {
		ratio := median(took[name]) / median(took["bare"])
		fmt.Fprintf(table, "%s\t%.1f ms\t%.2f ×\t%.1f ×\t%.1f ms\t%.2f ×\t\n", name, median(took[name]), ratio, promisedStart,
			median(worked[name]), median(worked[name])/median(worked["bare"]))
		if ratio > promisedStart {
			missed = append(missed, fmt.Errorf("the cold start of %s takes %.2f times that of a bare handler, more than %.1f",
				name, ratio, promisedStart))
		}
	}
	return errors.Join(append(missed, table.Flush())...)
}

// firstAnswer starts a program, sends it an event over the runtime API, and returns the time until its response.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
func firstAnswer(ctx context.Context, program string, env []string, event []byte) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	type answer struct {
		at   time.Time
		body []byte
		path string
	}
	answers := make(chan answer, 1)
	first := make(chan struct{}, 1)
	first <- struct{}{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-first:
		case <-r.Context().Done(): // the program waits for a second event until it is killed
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:bench")
		_, _ = w.Write(event) // if it fails, there is no response
	})
	mux.HandleFunc("POST /2018-06-01/runtime/", func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.WriteHeader(http.StatusAccepted)
		select {
		case answers <- answer{at, body, r.URL.Path}:
		default:
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener) //nolint:errcheck // returns when the server is closed
	defer server.Close()

	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(slices.Clone(env), "AWS_LAMBDA_RUNTIME_API="+listener.Addr().String())
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // reports that the program was killed
	}()
	select {
	case a := <-answers:
		return a.at.Sub(start), wellAnswered(a.path, a.body)
	case <-ctx.Done():
		return 0, errors.New("no response within 30 seconds")
	}
}
