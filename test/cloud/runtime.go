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

// initLimit is how long Lambda waits for a program to ask for its first event.
// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
const initLimit = 10 * time.Second

// sandbox is what Lambda calls an execution environment: one process of a function, and the runtime API that it asks for
// events. https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
//
// Between two events the process is stopped, as Lambda freezes it: what a handler leaves running in the background does
// not run on, and connections that it keeps may be gone when it wakes.
type sandbox struct {
	arn     string
	cmd     *exec.Cmd
	server  *http.Server
	idle    chan struct{}   // the process asks for an event
	work    chan invocation // the event it gets
	answers chan answer
	exited  chan struct{}

	mu      sync.Mutex
	current string // the request id of the event that it works on
}

// invocation is one event on its way into a process.
type invocation struct {
	id       string
	payload  []byte
	trace    string // its header
	deadline time.Time
}

// answer is what the process made of it.
type answer struct {
	body   []byte
	failed string // the kind of the error: "Unhandled", or none
}

// startSandbox starts a program. It returns before the program asks for an event.
func startSandbox(arn, program, dir string, env []string, line func(string)) (*sandbox, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sandbox{arn: arn, idle: make(chan struct{}, 1), work: make(chan invocation), answers: make(chan answer, 1), exited: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", s.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", s.answer(""))
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", s.answer("Unhandled"))
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // it is only logged
		line("init error: " + string(body))
		w.WriteHeader(http.StatusAccepted)
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: initLimit}

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
	go s.server.Serve(listener) //nolint:errcheck // it ends when the process has ended
	go func() {
		_ = s.cmd.Wait() // how it ended is told by whoever waits for its answer
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
	default: // it asks twice at once; the second waits like the first
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
		_, _ = w.Write(inv.payload) // if it has gone, its exit is seen
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
		_, _ = io.WriteString(w, `{"status":"OK"}`+"\n") // likewise
		s.answers <- answer{body: body, failed: failed}
	}
}

// ready waits until the process asks for an event.
func (s *sandbox) ready(limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.idle:
		return nil
	case <-s.exited:
		return fmt.Errorf("the program ended: %v", s.cmd.ProcessState)
	case <-timer.C:
		s.stop()
		return fmt.Errorf("the program asked for no event within %v", limit)
	}
}

// invoke hands an event to a process that is ready, and waits for the answer, the end of the process or the timeout,
// at which the process is killed. https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html
func (s *sandbox) invoke(id string, payload []byte, trace string, timeout time.Duration) answer {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	thaw(s.cmd.Process)
	select {
	case s.work <- invocation{id: id, payload: payload, trace: trace, deadline: time.Now().Add(timeout)}:
	case <-s.exited:
		return failure("Runtime.ExitError", fmt.Sprintf("RequestId: %s Error: Runtime exited: %v", id, s.cmd.ProcessState))
	}
	select {
	case a := <-s.answers:
		return a
	case <-s.exited:
		select { // it may have answered with its last breath, as it does after a panic
		case a := <-s.answers:
			return a
		default:
		}
		return failure("Runtime.ExitError", fmt.Sprintf("RequestId: %s Error: Runtime exited: %v", id, s.cmd.ProcessState))
	case <-timer.C:
		s.stop()
		return failure("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", id, timeout.Seconds()))
	}
}

func failure(kind, message string) answer {
	body, err := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	if err != nil {
		panic(err) // two texts
	}
	return answer{body: body, failed: "Unhandled"}
}

// stop kills the process and waits for its end.
func (s *sandbox) stop() {
	kill(s.cmd.Process)
	<-s.exited
}
