package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// asProgram is an environment variable that makes the test binary run as the program, so that tests can start and kill
// it.
const asProgram = "FLAVORLESS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	for _, v := range []string{"FLAVORLESS_URL", "FLAVORLESS_TOKEN", "FLAVORLESS_STACK", "AWS_CA_BUNDLE", "AWS_PROFILE",
		"AWS_REGION", "AWS_DEFAULT_REGION"} {
		os.Unsetenv(v)
	}
	m.Run()
	emulator.Stop()
}

// result is the exit code and the output of one run of the program.
type result struct {
	code     int
	out, err string
}

// wantOut reports an error unless the exit code is code and standard output contains the parts.
func (r result) wantOut(t *testing.T, code int, parts ...string) {
	t.Helper()
	r.want(t, code, "stdout", r.out, parts)
}

// wantErr reports an error unless the exit code is code and standard error contains the parts.
func (r result) wantErr(t *testing.T, code int, parts ...string) {
	t.Helper()
	r.want(t, code, "stderr", r.err, parts)
}

// wantStdout reports an error unless standard output is out.
func (r result) wantStdout(t *testing.T, out string) {
	t.Helper()
	if r.out != out {
		t.Errorf("stdout = %q, want %q; exit code %d, stderr %q", r.out, out, r.code, r.err)
	}
}

func (r result) want(t *testing.T, code int, stream, text string, parts []string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code = %d, want %d; stdout %q, stderr %q", r.code, code, r.out, r.err)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s = %q, want it to contain %q", stream, text, part)
		}
	}
}

// command runs a command line in this process.
func command(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return commandUntil(t.Context(), stdin, args...)
}

// commandUntil runs a command line in this process until ctx ends.
func commandUntil(ctx context.Context, stdin string, args ...string) result {
	var out, stderr bytes.Buffer
	code := run(ctx, args, &terminal{in: strings.NewReader(stdin), out: &out, err: &stderr})
	return result{code, out.String(), stderr.String()}
}
