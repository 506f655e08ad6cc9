package cloud_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/test/cloud"
)

// stub builds the stub once, because that takes seconds.
var stub = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "bin", "test", "stub"))
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "bootstrap")
	out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", program, "./testdata/stub").CombinedOutput()
	if err != nil {
		return "", &cloud.APIError{Call: "go build", Body: string(out)}
	}
	return program, nil
})

func startStub(t *testing.T, config cloud.FunctionConfig) *cloud.Function {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("functions are Linux programs")
	}
	program, err := stub()
	if err != nil {
		t.Fatal(err)
	}
	config.Name, config.Program, config.Memory, config.Delay = "stub", program, 128, time.Millisecond
	if config.Timeout == 0 {
		config.Timeout = 3 * time.Minute
	}
	f := cloud.NewFunction(config)
	t.Cleanup(f.Stop)
	return f
}

type stubAnswer struct {
	Calls, Ticks, Left       int
	ID, ARN, Name, Own, Home string
	ErrorType, ErrorMessage  string
	Event                    string
	StackTrace               []any
	failed                   string
	cold                     bool
}

// invoke has the stub do something.
func invoke(t *testing.T, f *cloud.Function, command string) stubAnswer {
	t.Helper()
	inv := f.Invoke(t.Context(), []byte(`{"do": "`+command+`"}`))
	a := stubAnswer{failed: inv.Failed, cold: inv.Cold}
	if err := json.Unmarshal(inv.Answer, &a); err != nil {
		t.Fatalf("decoding %s: %v", inv.Answer, err)
	}
	if a.failed == "" && a.ID != inv.RequestID {
		t.Errorf("request id of the function = %s, want %s", a.ID, inv.RequestID)
	}
	return a
}

func TestFunction(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{Env: map[string]string{"OWN": "variable"}})
	began := time.Now()
	first := invoke(t, f, "answer")
	took := time.Since(began)
	if !first.cold || first.Calls != 1 || first.Own != "variable" || first.Name != "stub" || first.Home != "" ||
		first.ARN != f.ARN() {
		t.Errorf("first invocation: %+v, want a new process with the environment of the configuration and ARN %s", first,
			f.ARN())
	}
	if left := time.Duration(first.Left) * time.Millisecond; left < 3*time.Minute-took-time.Millisecond ||
		left > 3*time.Minute {
		t.Errorf("time until the deadline = %s, want 3 minutes less at most %s", left, took)
	}
	second := invoke(t, f, "answer")
	if second.cold || second.Calls != 2 {
		t.Errorf("second invocation: %+v, want the same process", second)
	}
	for _, bad := range []string{"fail", "panic", "exit"} {
		got := invoke(t, f, bad)
		if got.failed != "Unhandled" || got.ErrorMessage == "" {
			t.Errorf("%s: %+v, want an unhandled error with a message", bad, got)
		}
	}
	if got := invoke(t, f, "answer"); !got.cold || got.Calls != 1 {
		t.Errorf("after a crash: %+v, want a new process", got)
	}
	f.Kill()
	if got := invoke(t, f, "answer"); !got.cold || got.failed != "" {
		t.Errorf("after a kill: %+v, want a new process", got)
	}
	if !slices.Contains(f.Logs(), "doing fail") {
		t.Errorf("logs = %q, want the line %q among them", f.Logs(), "doing fail")
	}
}

// TestFrozen checks that background goroutines don't run between two events.
func TestFrozen(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{})
	before := invoke(t, f, "wait")
	time.Sleep(300 * time.Millisecond) // there is no condition to await: nothing must happen
	after := invoke(t, f, "answer")
	if n := after.Ticks - before.Ticks; before.Ticks == 0 || n > 100 {
		t.Errorf("%d ticks during the invocation, %d while frozen, want some and at most 100", before.Ticks, n)
	}
}

func TestTimeout(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{Timeout: 3 * time.Second})
	got := invoke(t, f, "hang")
	const want = "Task timed out after 3.00 seconds"
	if got.failed == "" || got.ErrorType != "Sandbox.Timedout" || !strings.Contains(got.ErrorMessage, want) {
		t.Errorf("hang: %+v, want a timeout after 3 seconds", got)
	}
	if got := invoke(t, f, "answer"); !got.cold || got.failed != "" {
		t.Errorf("after a timeout: %+v, want a new process", got)
	}
}

func TestInitFails(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{Env: map[string]string{"FAIL_INIT": "1"}})
	if got := invoke(t, f, "answer"); got.failed == "" || !strings.Contains(got.ErrorMessage, "exit status 3") {
		t.Errorf("answer = %+v, want exit status 3", got)
	}
	if diff := gocmp.Diff([]string{"I fail to start"}, f.Logs()); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

func TestConcurrency(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{Concurrency: 3})
	var wg sync.WaitGroup
	for range 9 {
		wg.Go(func() { invoke(t, f, "wait") })
	}
	wg.Wait()
	cold := 0
	for _, inv := range f.Invocations() {
		if inv.Cold {
			cold++
		}
	}
	if n := len(f.Invocations()); n != 9 || cold < 2 || cold > 3 {
		t.Errorf("%d invocations by %d processes, want 9 by 2 or 3", n, cold)
	}
}

func TestAsync(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	records := make(chan []byte, 10)
	f := startStub(t, cloud.FunctionConfig{Retries: 2, OnFailure: func(_ context.Context, record []byte) error {
		records <- record
		return nil
	}})
	t.Cleanup(cancel)
	once, err := json.Marshal(map[string]string{"do": "fail once", "file": filepath.Join(t.TempDir(), "file")})
	if err != nil {
		t.Fatal(err)
	}
	f.InvokeAsync(ctx, once)
	f.InvokeAsync(ctx, []byte(`{"do": "fail"}`))
	var got struct {
		RequestContext struct {
			Condition              string
			ApproximateInvokeCount int
		}
		RequestPayload, ResponsePayload map[string]any
	}
	if err := json.Unmarshal(<-records, &got); err != nil {
		t.Fatal(err)
	}
	if got.RequestPayload["do"] != "fail" || got.RequestContext.Condition != "RetriesExhausted" ||
		got.RequestContext.ApproximateInvokeCount != 3 || got.ResponsePayload["errorMessage"] != "as you like" {
		t.Errorf("the invocation record is %+v, want that of the event that fails, after 3 attempts", got)
	}
	for len(f.Invocations()) < 5 { // three of the event that fails, two of the event that fails once
		runtime.Gosched()
	}
	if len(records) > 0 {
		t.Errorf("the destination received %s, want nothing: the event succeeded", <-records)
	}
}
