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

// hangingServer points the environment at a server that takes connections and never answers. Asked is called for each.
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

// TestTimeoutOfAServerThatHangs: --timeout covers all that upload waits for.
func TestTimeoutOfAServerThatHangs(t *testing.T) {
	hangingServer(t, func() {})
	csv := writeFile(t, "a.csv", "person,flavor\nandy,mint\n")
	for _, args := range [][]string{{"upload", csv}, {"upload", "--detach", csv}} {
		got := command(t, "", append(args, "--timeout", "50ms")...)
		if got.code != exitFailed || !strings.Contains(got.err, "within 50ms") || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%q: exit code %d, stderr %q; want %d and what did not happen within 50ms", args, got.code, got.err, exitFailed)
		}
	}
	if got := command(t, "", "upload", csv, "--timeout", "-1s"); got.code != exitUsage {
		t.Errorf("a negative timeout: exit code %d, stderr %q", got.code, got.err)
	}
}

// TestStoppedBeforeTheServerAnswers: Ctrl-C while the server is silent ends a command with a plain sentence.
func TestStoppedBeforeTheServerAnswers(t *testing.T) {
	csv := writeFile(t, "a.csv", "person,flavor\nandy,mint\n")
	for _, args := range [][]string{{"upload", csv}, {"team"}, {"uploads"}, {"lookup", "andy"}} {
		ctx, interrupt := context.WithCancelCause(t.Context())
		hangingServer(t, func() { interrupt(errors.New("interrupt signal received")) })
		var stderr bytes.Buffer
		code := run(ctx, args, &terminal{in: strings.NewReader(""), out: new(bytes.Buffer), err: &stderr})
		if code != exitFailed || !strings.HasPrefix(stderr.String(), "flavorless: stopped") || strings.Contains(stderr.String(), "signal") {
			t.Errorf("%q: exit code %d, stderr %q; want %d and that it was stopped", args, code, stderr.String(), exitFailed)
		}
	}
}

// fullDisk is an output that takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestOutputThatIsLost: no command succeeds whose output can't be written, and each says so once.
func TestOutputThatIsLost(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	csv := writeFile(t, "a.csv", "person,flavor\nandy,mint\n")
	if got := command(t, "", "upload", "--data", p.dir, csv); got.code != exitOK {
		t.Fatal(got.err)
	}
	for _, args := range [][]string{
		{"team"}, {"team", "--json"}, {"uploads"}, {"uploads", "--json"}, {"lookup", "andy"}, {"env"}, {"token"}, {"redrive"}, {"upload", csv},
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), append(args, "--data", p.dir), &terminal{in: strings.NewReader(""), out: fullDisk{}, err: &stderr})
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

// TestCheckAgreesOnNames: where upload reads no row because a named member never occurs, check tells of none.
func TestCheckAgreesOnNames(t *testing.T) {
	ndjson := writeFile(t, "a.ndjson", strings.Repeat(`{"person":"andy","flavor":"mint"}`+"\n", 1000))
	got := command(t, "", "check", "--json", "--person-column", "name", ndjson)
	if got.code != exitFailed || strings.Count(got.out, "\n") != 1 || !strings.Contains(got.out, `"rows":0`) || !strings.Contains(got.out, "bad_metadata") {
		t.Errorf("exit code %d, %s%s; want the failure alone", got.code, got.out, got.err)
	}
}

// TestCheckShowsNamesSafely: a file's name can't move the cursor.
func TestCheckShowsNamesSafely(t *testing.T) {
	name := filepath.Join(t.TempDir(), "esc\x1b[31m.csv")
	if err := os.WriteFile(name, []byte("person,flavor\n,x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := command(t, "", "check", name); strings.Contains(got.out, "\x1b") || !strings.Contains(got.out, `esc\x1b[31m.csv`) {
		t.Errorf("check prints %q", got.out)
	}
}

// TestCheckGuessesEncodedInput: standard input is named by its first characters, whatever their encoding.
func TestCheckGuessesEncodedInput(t *testing.T) {
	for _, text := range []string{"\xff\xfe{\x00\"\x00a\x00\"\x00:\x00\"\x00b\x00\"\x00}\x00", "\xfe\xff\x00{\x00\"\x00a\x00\"\x00:\x00\"\x00b\x00\"\x00}"} {
		if got := command(t, text, "check", "-"); got.code != exitOK || !strings.Contains(got.out, "1 row") {
			t.Errorf("check - of %q: exit code %d, %s%s", text, got.code, got.out, got.err)
		}
	}
}

// TestUploadPatterns: a pattern that no shell has expanded leaves out what shells leave out.
func TestUploadPatterns(t *testing.T) {
	p := startServe(t, filepath.Join(t.TempDir(), "data"))
	dir := t.TempDir()
	for _, name := range []string{"a.csv", "b.csv", "._a.csv", ".hidden.csv"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("person,flavor\nandy,mint\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := command(t, "", "upload", "--data", p.dir, filepath.Join(dir, "*.csv")); got.code != exitOK || !strings.Contains(got.out, "2 files") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
	if got := command(t, "", "upload", "--data", p.dir, filepath.Join(dir, ".h*.csv")); got.code != exitOK {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
	if got := command(t, "", "upload", "--data", p.dir, "-", "-", "--as", "a.csv"); got.code != exitUsage || !strings.Contains(got.err, "named twice") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
	empty := writeFile(t, "empty.csv", "")
	if got := command(t, "", "upload", "--data", p.dir, empty); got.code != exitOK || !strings.Contains(got.out, "no rows") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
}
