package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// FunctionConfig is what a template says of a function.
type FunctionConfig struct {
	Name        string
	Program     string // the bootstrap
	Env         map[string]string
	Key         string // its access key id: in whose name it calls AWS
	Endpoint    string // of all AWS services
	Timeout     time.Duration
	Memory      int  // MB
	Concurrency int  // processes at most
	Retries     int  // of an event that is given asynchronously
	Recursive   bool // its RecursiveLoop is Allow
	Pace        time.Duration
	OnFailure   func(ctx context.Context, record []byte) error // where events go that failed for good; may be nil
}

// Function is a Lambda function: its processes, what it was asked and what it said.
type Function struct {
	FunctionConfig
	slots chan struct{}
	async sync.WaitGroup
	limit atomic.Int64 // the timeout at present, in nanoseconds

	recursive atomic.Bool // it may be invoked in an endless chain of events

	mu       sync.Mutex
	idle     []*sandbox
	all      map[*sandbox]bool
	stopped  bool
	lines    []string
	finished []Invocation
}

// Invocation is one that has ended.
type Invocation struct {
	RequestID string
	Payload   []byte
	Answer    []byte
	Failed    string // the kind of the error: "Unhandled", or none
	Cold      bool
}

// NewFunction makes a function; its first process starts with the first event.
func NewFunction(config FunctionConfig) *Function {
	if config.Concurrency == 0 {
		config.Concurrency = 10 // an account has 1,000; this is one machine
	}
	f := &Function{FunctionConfig: config, slots: make(chan struct{}, config.Concurrency), all: map[*sandbox]bool{}}
	f.limit.Store(int64(config.Timeout))
	f.recursive.Store(config.Recursive)
	return f
}

// SetTimeout changes how long invocations may take that begin from now on.
func (f *Function) SetTimeout(d time.Duration) { f.limit.Store(int64(d)) }

// ARN of the function.
func (f *Function) ARN() string { return arnOf("lambda", "function:"+f.Name) }

// Invoke gives the function an event and waits for what it makes of it. It first waits for a free process, starting one
// where the concurrency allows.
func (f *Function) Invoke(ctx context.Context, payload []byte) Invocation {
	done := Invocation{RequestID: uuid.NewString(), Payload: payload}
	chain, allowed := f.next(ctx)
	if !allowed {
		f.log("not invoked: this event has led to it in a loop")
		done.Failed, done.Answer = recursiveInvocation, []byte(`{"Reason":"RecursiveLoopDetected"}`)
		return done
	}
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		done.Failed, done.Answer = "TooManyRequestsException", []byte(`{"Reason":"ConcurrentInvocationLimitExceeded"}`)
		return done
	}
	s, cold, err := f.take()
	done.Cold = cold
	if err != nil {
		<-f.slots
		a := failure("Runtime.ExitError", err.Error())
		done.Answer, done.Failed = a.body, a.failed
	} else {
		timeout := time.Duration(f.limit.Load())
		a := s.invoke(done.RequestID, payload, chain.header(), timeout)
		done.Answer, done.Failed = a.body, a.failed
		// An invocation ends when the process asks for the next event; until then its time counts.
		f.giveBack(s, s.ready(timeout))
		<-f.slots
	}
	f.mu.Lock()
	f.finished = append(f.finished, done)
	f.mu.Unlock()
	return done
}

func (f *Function) take() (s *sandbox, cold bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, false, fmt.Errorf("%s is stopped", f.Name)
	}
	for n := len(f.idle); n > 0; n = len(f.idle) {
		s := f.idle[n-1]
		f.idle = f.idle[:n-1]
		select {
		case <-s.exited: // killed while it was idle
		default:
			return s, false, nil
		}
	}
	s, err = startSandbox(f.ARN(), f.Program, filepath.Dir(f.Program), f.environ(), f.log)
	if err != nil {
		return nil, true, err
	}
	f.all[s] = true
	f.mu.Unlock()
	err = s.ready(initLimit)
	f.mu.Lock()
	if err != nil {
		delete(f.all, s)
	}
	return s, true, err
}

func (f *Function) giveBack(s *sandbox, ended error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ended != nil || f.stopped {
		delete(f.all, s)
		return
	}
	f.idle = append(f.idle, s)
}

// environ is the environment of a process: Lambda's variables, and those of the template.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
func (f *Function) environ() []string {
	env := map[string]string{
		"_HANDLER": "bootstrap", "LANG": "en_US.UTF-8", "TZ": ":UTC", "PATH": os.Getenv("PATH"),
		"LAMBDA_TASK_ROOT": filepath.Dir(f.Program), "LAMBDA_RUNTIME_DIR": "/var/runtime",
		"AWS_REGION": Region, "AWS_DEFAULT_REGION": Region, "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023",
		"AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.Memory), "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/" + f.Name, "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]" + strings.Repeat("0", 32),
		"AWS_ACCESS_KEY_ID": f.Key, "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
		"AWS_ENDPOINT_URL": f.Endpoint,
	}
	maps.Copy(env, f.Env)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// InvokeAsync gives the function an event as S3 and SNS do: a failed one is tried again, then goes to the destination.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
func (f *Function) InvokeAsync(ctx context.Context, payload []byte) {
	f.async.Go(func() {
		var last Invocation
		for try := range 1 + f.Retries {
			if try > 0 && !pause(ctx, f.Pace) {
				return
			}
			if last = f.Invoke(ctx, payload); last.Failed == "" || ctx.Err() != nil {
				return
			}
			if last.Failed == recursiveInvocation { // another try is not made
				break
			}
		}
		if f.OnFailure == nil {
			return
		}
		if err := f.OnFailure(ctx, asyncRecord(f, last, 1+f.Retries)); err != nil && ctx.Err() == nil {
			f.log("the destination of failed events did not take one: " + err.Error())
		}
	})
}

// asyncRecord is what a destination gets.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
func asyncRecord(f *Function, last Invocation, tries int) []byte {
	record, err := json.Marshal(map[string]any{
		"version": "1.0", "timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"requestContext": map[string]any{
			"requestId": last.RequestID, "functionArn": f.ARN() + ":$LATEST", "condition": "RetriesExhausted", "approximateInvokeCount": tries,
		},
		"requestPayload":  json.RawMessage(last.Payload),
		"responseContext": map[string]any{"statusCode": 200, "executedVersion": "$LATEST", "functionError": last.Failed},
		"responsePayload": json.RawMessage(last.Answer),
	})
	if err != nil {
		panic(err) // both payloads are JSON: the event that was made here, and what the runtime API took
	}
	return record
}

// pause waits, unless the context ends.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Function) log(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, strings.TrimRight(line, "\n"))
}

// Logs gives all lines that the function wrote.
func (f *Function) Logs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

// Invocations gives all that have ended.
func (f *Function) Invocations() []Invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.finished)
}

// Kill ends all its processes, as a crash of their machines would. The function lives on.
func (f *Function) Kill() {
	f.mu.Lock()
	all := slices.Collect(maps.Keys(f.all))
	f.mu.Unlock()
	for _, s := range all {
		s.stop()
	}
}

// Stop ends the function: no process is left when it returns. The contexts of what was given to it have to end first.
func (f *Function) Stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.Kill()
	f.async.Wait()
	for range cap(f.slots) { // until the last process was given back
		f.slots <- struct{}{}
	}
	f.Kill() // one that was just starting
}
