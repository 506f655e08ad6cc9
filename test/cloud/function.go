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

// FunctionConfig configures a Function.
type FunctionConfig struct {
	Name        string
	Program     string // the bootstrap
	Env         map[string]string
	Key         string // the access key id with which it calls AWS
	Endpoint    string // of all AWS services
	Timeout     time.Duration
	Memory      int  // in MB
	Concurrency int  // most processes at a time; default 10
	Retries     int  // of an asynchronous event
	Recursive   bool // RecursiveLoop is Allow
	Delay       time.Duration

	// OnFailure, if non-nil, receives events that failed for good.
	OnFailure func(ctx context.Context, record []byte) error
}

// Function is a Lambda function: its processes, logs and past invocations.
type Function struct {
	FunctionConfig
	slots chan struct{}
	async sync.WaitGroup

	timeout   atomic.Int64 // in nanoseconds
	recursive atomic.Bool

	mu       sync.Mutex
	idle     []*sandbox
	all      map[*sandbox]bool
	stopped  bool
	lines    []string
	finished []Invocation
}

// Invocation is an invocation that has ended.
type Invocation struct {
	RequestID string
	Payload   []byte
	Answer    []byte
	Failed    string // "Unhandled", recursiveInvocation or another error of Lambda; "" for success
	Cold      bool   // it started a process
}

// NewFunction returns a function. Its first process starts with the first event.
func NewFunction(config FunctionConfig) *Function {
	if config.Concurrency == 0 {
		config.Concurrency = 10 // an account has 1,000; this is one machine
	}
	f := &Function{FunctionConfig: config, slots: make(chan struct{}, config.Concurrency), all: map[*sandbox]bool{}}
	f.timeout.Store(int64(config.Timeout))
	f.recursive.Store(config.Recursive)
	return f
}

// SetTimeout changes the timeout of invocations that start from now on.
func (f *Function) SetTimeout(d time.Duration) { f.timeout.Store(int64(d)) }

// ARN returns the ARN of the function.
func (f *Function) ARN() string { return arnOf("lambda", "function:"+f.Name) }

// Invoke invokes the function and waits for the result. It first waits for a free process, or starts one if the
// concurrency allows it.
func (f *Function) Invoke(ctx context.Context, payload []byte) Invocation {
	done := Invocation{RequestID: uuid.NewString(), Payload: payload}
	chain, allowed := f.extendLineage(ctx)
	if !allowed {
		f.log("not invoked: recursive loop detected")
		done.Failed, done.Answer = recursiveInvocation, []byte(`{"Reason":"RecursiveLoopDetected"}`)
		return done
	}
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		done.Failed, done.Answer = "TooManyRequestsException", []byte(`{"Reason":"ConcurrentInvocationLimitExceeded"}`)
		return done
	}
	s, cold, err := f.acquire()
	done.Cold = cold
	if err != nil {
		<-f.slots
		a := failure("Runtime.ExitError", err.Error())
		done.Answer, done.Failed = a.body, a.failed
	} else {
		timeout := time.Duration(f.timeout.Load())
		a := s.invoke(done.RequestID, payload, chain.header(), timeout)
		done.Answer, done.Failed = a.body, a.failed
		// An invocation ends when the process requests the next event.
		f.release(s, s.ready(timeout))
		<-f.slots
	}
	f.mu.Lock()
	f.finished = append(f.finished, done)
	f.mu.Unlock()
	return done
}

// acquire returns an idle process or starts one.
func (f *Function) acquire() (s *sandbox, cold bool, err error) {
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
	err = s.ready(initTimeout)
	f.mu.Lock()
	if err != nil {
		delete(f.all, s)
	}
	return s, true, err
}

// release makes a process idle, unless it has ended.
func (f *Function) release(s *sandbox, ended error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ended != nil || f.stopped {
		delete(f.all, s)
		return
	}
	f.idle = append(f.idle, s)
}

// environ returns the environment of a process: Lambda's variables and those of the template.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
func (f *Function) environ() []string {
	env := map[string]string{
		"_HANDLER": "bootstrap", "LANG": "en_US.UTF-8", "TZ": ":UTC", "PATH": os.Getenv("PATH"),
		"LAMBDA_TASK_ROOT": filepath.Dir(f.Program), "LAMBDA_RUNTIME_DIR": "/var/runtime",
		"AWS_REGION": Region, "AWS_DEFAULT_REGION": Region, "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023",
		"AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.Memory), "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":  "/aws/lambda/" + f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]" + strings.Repeat("0", 32),
		"AWS_ACCESS_KEY_ID":          f.Key, "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
		"AWS_ENDPOINT_URL": f.Endpoint,
	}
	maps.Copy(env, f.Env)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// InvokeAsync invokes the function as S3 and SNS do: a failed event is retried, and then goes to the destination.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
func (f *Function) InvokeAsync(ctx context.Context, payload []byte) {
	f.async.Go(func() {
		var last Invocation
		for attempt := range 1 + f.Retries {
			if attempt > 0 && !pause(ctx, f.Delay) {
				return
			}
			if last = f.Invoke(ctx, payload); last.Failed == "" || ctx.Err() != nil {
				return
			}
			if last.Failed == recursiveInvocation { // Lambda does not retry it
				break
			}
		}
		if f.OnFailure == nil {
			return
		}
		if err := f.OnFailure(ctx, asyncRecord(f, last, 1+f.Retries)); err != nil && ctx.Err() == nil {
			f.log("sending a failed event to the destination: " + err.Error())
		}
	})
}

// asyncRecord returns the invocation record that a destination receives.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
func asyncRecord(f *Function, last Invocation, attempts int) []byte {
	record, err := json.Marshal(map[string]any{
		"version": "1.0", "timestamp": time.Now().UTC().Format(timestamp),
		"requestContext": map[string]any{
			"requestId": last.RequestID, "functionArn": f.ARN() + ":$LATEST", "condition": "RetriesExhausted",
			"approximateInvokeCount": attempts,
		},
		"requestPayload":  json.RawMessage(last.Payload),
		"responseContext": map[string]any{"statusCode": 200, "executedVersion": "$LATEST", "functionError": last.Failed},
		"responsePayload": json.RawMessage(last.Answer),
	})
	if err != nil {
		panic(err) // both payloads are JSON
	}
	return record
}

// pause waits for d. It returns false if ctx ends before.
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

// Logs returns all lines that the function has written.
func (f *Function) Logs() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

// Invocations returns all invocations that have ended.
func (f *Function) Invocations() []Invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.finished)
}

// Kill ends all processes, as a crash of their machines would. The next event starts a new process.
func (f *Function) Kill() {
	f.mu.Lock()
	all := slices.Collect(maps.Keys(f.all))
	f.mu.Unlock()
	for _, s := range all {
		s.stop()
	}
}

// Stop ends the function: no process is left when it returns. The contexts of asynchronous events must have ended
// before.
func (f *Function) Stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.Kill()
	f.async.Wait()
	for range cap(f.slots) { // waits until all processes are released
		f.slots <- struct{}{}
	}
	f.Kill() // a process that was starting
}
