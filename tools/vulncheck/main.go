// Command vulncheck runs govulncheck in continuous integration. It fails if govulncheck finds a vulnerability or
// breaks. It prints why and succeeds if the vulnerability database can't be reached or govulncheck can't be
// installed, because a network failure says nothing about the code.
//
//	go run ./tools/vulncheck
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	ctx := context.Background()
	c := config{
		database: "https://vuln.go.dev", reachWithin: 5 * time.Second,
		install: []string{"make", "-s", ".bin/govulncheck"}, installWithin: 2 * time.Minute,
		check: []string{".bin/govulncheck", "./..."},
	}
	if err := c.run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(1)
	}
}

type config struct {
	database       string // a URL, without a slash at the end
	reachWithin    time.Duration
	install, check []string // command lines
	installWithin  time.Duration
}

const unreachable = "vulncheck: not run: the vulnerability database can't be reached"

// run returns an error if govulncheck ran and did not succeed.
func (c config) run(ctx context.Context, out io.Writer) error {
	// govulncheck itself waits for minutes where a firewall drops its packets.
	if !c.reachable(ctx) {
		fmt.Fprintln(out, unreachable)
		return nil
	}
	installing, cancel := context.WithTimeout(ctx, c.installWithin)
	defer cancel()
	if text, err := command(installing, c.install).CombinedOutput(); err != nil {
		fmt.Fprintf(out, "%svulncheck: not run: govulncheck can't be installed: %v\n", text, err)
		return nil
	}
	check := command(ctx, c.check)
	var failure bytes.Buffer
	check.Stdout, check.Stderr = out, &failure
	err := check.Run()
	fmt.Fprint(out, failure.String())
	// The exit code of findings is 3, that of other failures 1.
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 3:
		return errors.New("govulncheck found vulnerabilities")
	case err != nil && strings.Contains(failure.String(), "fetching vulnerabilities"):
		fmt.Fprintln(out, unreachable)
		return nil
	case err != nil:
		return fmt.Errorf("running govulncheck: %w", err)
	}
	return nil
}

// reachable reports whether the database answers in time.
func (c config) reachable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.reachWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.database+"/index/db.json", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// command returns a command that ends soon after ctx, even if its children keep its output open.
func command(ctx context.Context, line []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, line[0], line[1:]...) //nolint:gosec // main has the command lines
	cmd.WaitDelay = time.Second
	return cmd
}
