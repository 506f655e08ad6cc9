package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// asProgram makes the test binary behave as the program itself, so that tests can start it, and kill it.
const asProgram = "FLAVORLESS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	for _, v := range []string{"FLAVORLESS_URL", "FLAVORLESS_TOKEN", "FLAVORLESS_STACK", "AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		os.Unsetenv(v)
	}
	code := m.Run()
	judge.Stop()
	os.Exit(code)
}

// result is what one run of the program left.
type result struct {
	code     int
	out, err string
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
