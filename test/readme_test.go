package test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
	"github.com/flavorless/flavorless/internal/testutil/program"
)

// TestReadme runs the commands in README.md that need no network, in their order, in a folder that has the files of
// testdata. Where README.md shows the output of a command, the real output must have these lines.
func TestReadme(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := readmeCommands(string(readme))
	if len(commands) < 5 {
		t.Fatalf("found only %d commands in README.md: %+v", len(commands), commands)
	}
	r := newReadmeShell(t)
	for _, c := range commands {
		r.run(c)
	}
	if r.info.API == "" {
		t.Error("README.md does not start the server")
	}
}

// readmeCommand is a command in README.md, with the output that follows it there.
type readmeCommand struct {
	line   string
	output []string
}

var fencedBlock = regexp.MustCompile("(?ms)^```(sh|console)\n(.*?)^```$")

// readmeCommands returns the commands of the fenced blocks that are marked sh or console. In a console block,
// commands have a prompt.
func readmeCommands(text string) (commands []readmeCommand) {
	for _, block := range fencedBlock.FindAllStringSubmatch(text, -1) {
		console, recorded := block[1] == "console", false
		for line := range strings.Lines(block[2]) {
			line = strings.TrimRight(line, "\n")
			command, prompt := strings.CutPrefix(line, "$ ")
			if prompt != console {
				if recorded && line != "" {
					last := &commands[len(commands)-1]
					last.output = append(last.output, line)
				}
				continue
			}
			command = strings.Replace(command, "go run ./cmd/flavorless", "flavorless", 1)
			recorded = strings.HasPrefix(command, "flavorless ") || strings.HasPrefix(command, "curl ")
			if recorded {
				commands = append(commands, readmeCommand{line: command})
			}
		}
	}
	return commands
}

// readmeShell runs commands with the real program on PATH, and without any configuration of the user.
type readmeShell struct {
	t       *testing.T
	program string
	dir     string // the working directory
	env     []string
	info    local.Info // of the server, once it was started
}

func newReadmeShell(t *testing.T) *readmeShell {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	path, err := program.Build(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	r := &readmeShell{t: t, program: path, dir: dir}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FLAVORLESS_") && !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "PATH=") {
			r.env = append(r.env, v)
		}
	}
	r.env = append(r.env, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return r
}

func (r *readmeShell) run(c readmeCommand) {
	r.t.Helper()
	switch arguments := strings.Fields(c.line); {
	case strings.HasPrefix(c.line, "flavorless serve"):
		r.serve()
	case slices.Contains(arguments, "--stack"):
		r.t.Logf("not run, because it needs a stack: %s", c.line)
	case arguments[1] == "watch":
		r.watch(c)
	default:
		ctx, cancel := context.WithTimeout(r.t.Context(), testutil.Timeout)
		defer cancel()
		out, err := r.command(ctx, c.line).CombinedOutput()
		const rejectedRows = 3 // the exit code of an upload that is live with rejected rows
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != rejectedRows) {
			r.t.Fatalf("%s: %v\n%s", c.line, err, out)
		}
		r.checkOutput(c, string(out))
	}
}

// command returns the command that runs a line as the shell of a user would after `eval "$(flavorless env)"`.
func (r *readmeShell) command(ctx context.Context, line string) *exec.Cmd {
	if r.info.API != "" {
		line = `eval "$(flavorless env)"; ` + strings.Replace(line, "curl ", "curl --fail --silent --show-error ", 1)
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env, cmd.WaitDelay = r.dir, r.env, 10*time.Second
	return cmd
}

// serve starts the server on free ports, with the data folder that flavorless uses by default, and uploads a first
// file.
func (r *readmeShell) serve() {
	r.t.Helper()
	if r.info.API != "" {
		return
	}
	data := filepath.Join(r.dir, "data")
	server := program.Serve(r.program, data)
	server.Dir, server.Env = r.dir, r.env
	var log bytes.Buffer
	server.Stdout, server.Stderr = io.Discard, &log
	if err := server.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		if err := server.Wait(); err != nil {
			r.t.Errorf("flavorless serve: %v\n%s", err, &log)
		}
	})
	testutil.WaitFor(r.t, "the server to be ready", func() bool {
		info, ready := program.Info(data, server.Process.Pid)
		if ready {
			r.info = info
		}
		return ready
	})
	r.run(readmeCommand{line: "flavorless upload favorites.csv"})
}

// watch runs a command that prints changes until it is stopped, while it uploads the files that README.md uploads.
func (r *readmeShell) watch(c readmeCommand) {
	r.t.Helper()
	// After this upload, the next one changes something.
	r.run(readmeCommand{line: "flavorless upload --key again.csv favorites.csv"})
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	cmd := r.command(ctx, "exec "+c.line)
	out, err := os.Create(filepath.Join(r.t.TempDir(), "output"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer out.Close()
	output := func() string {
		b, err := os.ReadFile(out.Name())
		if err != nil {
			r.t.Fatal(err)
		}
		return string(b)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	for n := 0; len(c.output) == 0 || !contains(output(), c.output); n++ {
		// The first changes may come before the command watches.
		for _, file := range []string{"corrections.json", "favorites.csv"} {
			r.run(readmeCommand{line: "flavorless upload " + file})
		}
		if len(c.output) == 0 && output() != "" {
			break
		}
		if n == 20 {
			r.t.Errorf("%s: got the output\n%s\nwant lines like\n%s", c.line, output(), strings.Join(c.output, "\n"))
			break
		}
	}
	cancel()
	_ = cmd.Wait() // reports that the command was killed
}

// checkOutput checks that each documented line is in the output.
func (r *readmeShell) checkOutput(c readmeCommand, got string) {
	r.t.Helper()
	if !contains(got, c.output) {
		r.t.Errorf("%s: got the output\n%s\nwant lines like\n%s", c.line, got, strings.Join(c.output, "\n"))
	}
}

var (
	duration = regexp.MustCompile(`\b[0-9.]+(ms|s)\b`)
	instant  = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	uploadID = regexp.MustCompile(`\bupload [0-9a-z]{26}\b`)
)

// contains reports whether every line is part of a line of an output, apart from white space and the values of
// durations, times and upload ids.
func contains(output string, lines []string) bool {
	normalize := func(line string) string {
		line = instant.ReplaceAllString(strings.Join(strings.Fields(line), " "), "TIME")
		return uploadID.ReplaceAllString(duration.ReplaceAllString(line, "DURATION"), "upload ID")
	}
	var got []string
	for line := range strings.Lines(output) {
		got = append(got, normalize(line))
	}
	for _, line := range lines {
		want := normalize(line)
		if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, want) }) {
			return false
		}
	}
	return true
}
