package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hangingServer sets the environment to a server that accepts connections and never answers. It calls asked for each
// connection.
func hangingServer(t *testing.T, asked func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			asked()
		}
	}()
	t.Setenv("FLAVORLESS_URL", "http://"+l.Addr().String())
	t.Setenv("FLAVORLESS_TOKEN", "token")
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://"+l.Addr().String())
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("FLAVORLESS_BUCKET", "uploads")
}

// TestTimeoutOfAServerThatHangs: --timeout limits all waiting of upload.
func TestTimeoutOfAServerThatHangs(t *testing.T) {
	hangingServer(t, func() {})
	csv := writeFile(t, "a.csv", "person,flavor\nandy,mint\n")
	for _, args := range [][]string{{"upload", csv}, {"upload", "--detach", csv}} {
		got := command(t, "", append(args, "--timeout", "50ms")...)
		if got.code != exitFailed || !strings.Contains(got.err, "within 50ms") || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%q: exit code %d, stderr %q; want %d and one line with the timeout", args, got.code, got.err, exitFailed)
		}
	}
	if got := command(t, "", "upload", csv, "--timeout", "-1s"); got.code != exitUsage {
		t.Errorf("upload with a negative timeout = %+v, want exit code %d", got, exitUsage)
	}
}

// TestStoppedBeforeTheServerAnswers: Ctrl-C while a command waits for the server ends it with one plain sentence.
func TestStoppedBeforeTheServerAnswers(t *testing.T) {
	csv := writeFile(t, "a.csv", "person,flavor\nandy,mint\n")
	for _, args := range [][]string{{"upload", csv}, {"team"}, {"uploads"}, {"lookup", "andy"}} {
		ctx, interrupt := context.WithCancelCause(t.Context())
		hangingServer(t, func() { interrupt(errors.New("interrupt signal received")) })
		var stderr bytes.Buffer
		code := run(ctx, args, &terminal{in: strings.NewReader(""), out: new(bytes.Buffer), err: &stderr})
		if code != exitFailed || !strings.HasPrefix(stderr.String(), "flavorless: stopped") ||
			strings.Contains(stderr.String(), "signal") {
			t.Errorf("%q: exit code %d, stderr %q; want %d and a line that begins with stopped", args, code, stderr.String(),
				exitFailed)
		}
	}
}

// fullDisk is a writer that always fails.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestOutputThatIsLost: a command whose output can't be written fails, and prints the reason once.
func TestOutputThatIsLost(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	csv := writeFile(t, "a.csv", "person,flavor\nandy,mint\n")
	if got := command(t, "", "upload", "--data", p.dir, csv); got.code != exitOK {
		t.Fatalf("upload = %+v, want exit code %d", got, exitOK)
	}
	for _, args := range [][]string{
		{"team"}, {"team", "--json"}, {"uploads"}, {"uploads", "--json"}, {"lookup", "andy"}, {"env"}, {"token"}, {"redrive"},
		{"upload", csv},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), append(args, "--data", p.dir),
			&terminal{in: strings.NewReader(""), out: fullDisk{}, err: &stderr})
		if code != exitFailed || strings.Count(stderr.String(), "no space left on device") != 1 {
			t.Errorf("%q: exit code %d, stderr %q; want %d and the reason once", args, code, stderr.String(), exitFailed)
		}
	}
	for _, args := range [][]string{{"check", csv}, {"--version"}, {"completion", "bash"}} {
		var stderr bytes.Buffer
		code := run(t.Context(), args, &terminal{in: strings.NewReader(""), out: fullDisk{}, err: &stderr})
		if code != exitFailed || strings.Count(stderr.String(), "no space left on device") != 1 {
			t.Errorf("%q: exit code %d, stderr %q; want %d and the reason once", args, code, stderr.String(), exitFailed)
		}
	}
}

// TestCheckAgreesOnNames: if a named member never occurs, check reads no row, as an upload does.
func TestCheckAgreesOnNames(t *testing.T) {
	ndjson := writeFile(t, "a.ndjson", strings.Repeat(`{"person":"andy","flavor":"mint"}`+"\n", 1000))
	got := command(t, "", "check", "--json", "--person-column", "name", ndjson)
	if got.code != exitFailed || strings.Count(got.out, "\n") != 1 || !strings.Contains(got.out, `"rows":0`) ||
		!strings.Contains(got.out, "bad_metadata") {
		t.Errorf("exit code %d, %s%s; want only the failure", got.code, got.out, got.err)
	}
}

// TestCheckShowsNamesSafely: check prints file names without control characters.
func TestCheckShowsNamesSafely(t *testing.T) {
	name := filepath.Join(t.TempDir(), "esc\x1b[31m.csv")
	if err := os.WriteFile(name, []byte("person,flavor\n,x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := command(t, "", "check", name); strings.Contains(got.out, "\x1b") ||
		!strings.Contains(got.out, `esc\x1b[31m.csv`) {
		t.Errorf("check prints %q, want the name with an escaped ESC", got.out)
	}
}

// TestCheckGuessesEncodedInput: check detects the format of standard input in UTF-16, too.
func TestCheckGuessesEncodedInput(t *testing.T) {
	for _, text := range []string{"\xff\xfe{\x00\"\x00a\x00\"\x00:\x00\"\x00b\x00\"\x00}\x00",
		"\xfe\xff\x00{\x00\"\x00a\x00\"\x00:\x00\"\x00b\x00\"\x00}"} {
		command(t, text, "check", "-").wantOut(t, exitOK, "1 row")
	}
}

// TestUploadPatterns: patterns match the same files as in a shell.
func TestUploadPatterns(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	dir := t.TempDir()
	for _, name := range []string{"a.csv", "b.csv", "._a.csv", ".hidden.csv"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("person,flavor\nandy,mint\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "", "upload", "--data", p.dir, filepath.Join(dir, "*.csv")).wantOut(t, exitOK, "2 files")
	if got := command(t, "", "upload", "--data", p.dir, filepath.Join(dir, ".h*.csv")); got.code != exitOK {
		t.Errorf("upload of a pattern with a dot = %+v, want exit code %d", got, exitOK)
	}
	command(t, "", "upload", "--data", p.dir, "-", "-", "--as", "a.csv").wantErr(t, exitUsage, "standard input")
	empty := writeFile(t, "empty.csv", "")
	command(t, "", "upload", "--data", p.dir, empty).wantOut(t, exitOK, "warning")
}
