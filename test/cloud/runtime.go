package cloud

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// initTimeout is how long Lambda waits until a program requests its first event.
// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
const initTimeout = 10 * time.Second

// sandbox is an execution environment of Lambda: one process of a function, with its runtime API.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
//
// The process is stopped between two events, because Lambda freezes it: its background goroutines don't run, and its
// idle connections may be closed when it continues.
type sandbox struct {
	arn     string
	cmd     *exec.Cmd
	server  *http.Server
	idle    chan struct{}   // the process requests an event
	work    chan invocation // the event that it receives
	answers chan answer
	exited  chan struct{}

	mu      sync.Mutex
	current string // request id of the event that it processes
}

// invocation is one event for a process.
type invocation struct {
	id       string
	payload  []byte
	trace    string // the trace header
	deadline time.Time
}

// answer is the result of an invocation.
type answer struct {
	body   []byte
	failed string // "Unhandled", or "" for success
}

// startSandbox starts a program. It returns before the program requests an event.
func startSandbox(arn, program, dir string, env []string, line func(string)) (*sandbox, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sandbox{
		arn: arn, idle: make(chan struct{}, 1), work: make(chan invocation), answers: make(chan answer, 1),
		exited: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", s.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", s.answer(""))
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", s.answer("Unhandled"))
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // it is only logged
		line("init error: " + string(body))
		w.WriteHeader(http.StatusAccepted)
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: initTimeout}

	s.cmd = exec.Command(program)
	s.cmd.Dir = dir
	s.cmd.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String()}, env...)
	prepare(s.cmd)
	output, input := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = input, input
	var logs sync.WaitGroup
	logs.Go(func() {
		r := bufio.NewReader(output)
		for {
			text, err := r.ReadString('\n')
			if text != "" {
				line(text)
			}
			if err != nil {
				return
			}
		}
	})
	if err := s.cmd.Start(); err != nil {
		_ = input.Close()
		return nil, errors.Join(err, listener.Close())
	}
	go s.server.Serve(listener) //nolint:errcheck // it is closed when the process has ended
	go func() {
		_ = s.cmd.Wait() // invoke and ready report how it ended
		_ = input.Close()
		logs.Wait()
		_ = s.server.Close()
		close(s.exited)
	}()
	return s, nil
}

func (s *sandbox) next(w http.ResponseWriter, r *http.Request) {
	freeze(s.cmd.Process)
	select {
	case s.idle <- struct{}{}:
	default: // a second request at the same time waits like the first one
	}
	select {
	case inv := <-s.work:
		s.mu.Lock()
		s.current = inv.id
		s.mu.Unlock()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", s.arn)
		h.Set("Lambda-Runtime-Trace-Id", inv.trace)
		_, _ = w.Write(inv.payload) // if this fails, the process has exited, which invoke sees
	case <-r.Context().Done():
	}
}

func (s *sandbox) answer(failed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.mu.Lock()
		known := err == nil && r.PathValue("id") == s.current
		s.current = ""
		s.mu.Unlock()
		if !known {
			http.Error(w, `{"errorType": "InvalidRequestID"}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"OK"}`+"\n") // see next
		s.answers <- answer{body: body, failed: failed}
	}
}

// ready waits until the process requests an event.
func (s *sandbox) ready(timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-s.idle:
		return nil
	case <-s.exited:
		return fmt.Errorf("the program exited: %v", s.cmd.ProcessState)
	case <-timer.C:
		s.stop()
		return fmt.Errorf("the program requested no event within %v", timeout)
	}
}

// invoke passes an event to a process that is ready, and waits for its answer or its end. It kills the process at the
// timeout.
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html
func (s *sandbox) invoke(id string, payload []byte, trace string, timeout time.Duration) answer {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	thaw(s.cmd.Process)
	select {
	case s.work <- invocation{id: id, payload: payload, trace: trace, deadline: time.Now().Add(timeout)}:
	case <-s.exited:
		return s.exitError(id)
	}
	select {
	case a := <-s.answers:
		return a
	case <-s.exited:
		select { // the runtime answers before it exits because of a panic
		case a := <-s.answers:
			return a
		default:
		}
		return s.exitError(id)
	case <-timer.C:
		s.stop()
		return failure("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", id,
			timeout.Seconds()))
	}
}

func (s *sandbox) exitError(id string) answer {
	return failure("Runtime.ExitError", fmt.Sprintf("RequestId: %s Error: Runtime exited: %v", id, s.cmd.ProcessState))
}

func failure(kind, message string) answer {
	body, err := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return answer{body: body, failed: "Unhandled"}
}

// stop kills the process and waits for its end.
func (s *sandbox) stop() {
	kill(s.cmd.Process)
	<-s.exited
}
