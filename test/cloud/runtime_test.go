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

// stub builds the stub once for all tests.
var stub = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // building takes seconds
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
		t.Skip("bootstraps are Linux programs")
	}
	program, err := stub()
	if err != nil {
		t.Fatal(err)
	}
	config.Name, config.Program, config.Memory, config.Pace = "stub", program, 128, time.Millisecond
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

func do(t *testing.T, f *cloud.Function, what string) stubAnswer {
	t.Helper()
	inv := f.Invoke(t.Context(), []byte(`{"do": "`+what+`"}`))
	a := stubAnswer{failed: inv.Failed, cold: inv.Cold}
	if err := json.Unmarshal(inv.Answer, &a); err != nil {
		t.Fatalf("%s: %v", inv.Answer, err)
	}
	if a.failed == "" && a.ID != inv.RequestID {
		t.Errorf("the function knows its request as %s, not %s", a.ID, inv.RequestID)
	}
	return a
}

func TestFunction(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{Env: map[string]string{"OWN": "variable"}})
	began := time.Now()
	first := do(t, f, "answer")
	took := time.Since(began)
	if !first.cold || first.Calls != 1 || first.Own != "variable" || first.Name != "stub" || first.Home != "" || first.ARN != f.ARN() {
		t.Errorf("%+v", first)
	}
	if left := time.Duration(first.Left) * time.Millisecond; left < 3*time.Minute-took-time.Millisecond || left > 3*time.Minute {
		t.Errorf("%s are left of 3 minutes, and it took %s", left, took)
	}
	second := do(t, f, "answer")
	if second.cold || second.Calls != 2 {
		t.Errorf("not the same process: %+v", second)
	}
	for _, bad := range []string{"fail", "panic", "exit"} {
		got := do(t, f, bad)
		if got.failed != "Unhandled" || got.ErrorMessage == "" {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	if got := do(t, f, "answer"); !got.cold || got.Calls != 1 {
		t.Errorf("after a crash: %+v", got)
	}
	f.Kill()
	if got := do(t, f, "answer"); !got.cold || got.failed != "" {
		t.Errorf("after a kill: %+v", got)
	}
	if !slices.Contains(f.Logs(), "doing fail") {
		t.Errorf("the logs are %q", f.Logs())
	}
}

// TestFrozen: in the background nothing happens between two events.
func TestFrozen(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{})
	before := do(t, f, "wait")
	time.Sleep(300 * time.Millisecond) // that nothing happens needs time, not a condition
	after := do(t, f, "answer")
	if n := after.Ticks - before.Ticks; before.Ticks == 0 || n > 100 {
		t.Errorf("%d ticks while it worked, %d while it was to be stopped", before.Ticks, n)
	}
}

func TestTimeout(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{Timeout: 3 * time.Second})
	if got := do(t, f, "hang"); got.failed == "" || got.ErrorType != "Sandbox.Timedout" || !strings.Contains(got.ErrorMessage, "Task timed out after 3.00 seconds") {
		t.Errorf("%+v", got)
	}
	if got := do(t, f, "answer"); !got.cold || got.failed != "" {
		t.Errorf("after a timeout: %+v", got)
	}
}

func TestInitFails(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{Env: map[string]string{"FAIL_INIT": "1"}})
	if got := do(t, f, "answer"); got.failed == "" || !strings.Contains(got.ErrorMessage, "exit status 3") {
		t.Errorf("%+v", got)
	}
	if diff := gocmp.Diff([]string{"I fail to start"}, f.Logs()); diff != "" {
		t.Error(diff)
	}
}

func TestConcurrency(t *testing.T) {
	f := startStub(t, cloud.FunctionConfig{Concurrency: 3})
	var wg sync.WaitGroup
	for range 9 {
		wg.Go(func() { do(t, f, "wait") })
	}
	wg.Wait()
	cold := 0
	for _, inv := range f.Invocations() {
		if inv.Cold {
			cold++
		}
	}
	if n := len(f.Invocations()); n != 9 || cold < 2 || cold > 3 {
		t.Errorf("%d invocations by %d processes, want 9 by 3", n, cold)
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
	if got.RequestPayload["do"] != "fail" || got.RequestContext.Condition != "RetriesExhausted" || got.RequestContext.ApproximateInvokeCount != 3 || got.ResponsePayload["errorMessage"] != "as you like" {
		t.Errorf("%+v", got)
	}
	for len(f.Invocations()) < 5 { // three failed, and two of which the second went well
		runtime.Gosched()
	}
	if len(records) > 0 {
		t.Errorf("an event that went well at last is at the destination: %s", <-records)
	}
}
