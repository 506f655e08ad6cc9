package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadWebhooks(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
		err        string
	}{
		{"empty", "", nil, ""},
		{"comments", "# mine\r\n\r\n  https://example.com/a?b  \r\n\t#http://example.com\nhttps://example.com/é",
			[]string{"https://example.com/a?b", "https://example.com/é"}, ""},
		{"bad line", "\n#\nhttps://example.com\nhttp://example.com/hush\n", nil,
			"reading hooks: line 4: "},
		{"space", "https://example.com/a hush", nil, "reading hooks: line 1: "},
		{"twice", "https://example.com/hush\n\nhttps://example.com/hush", nil,
			"reading hooks: line 3: "},
		{"long line", "\n" + strings.Repeat("h", 1<<17), nil, "reading hooks: line 2: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readWebhooks(strings.NewReader(c.text), "hooks")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (err == nil) != (c.err == "") || err != nil &&
				(!strings.HasPrefix(err.Error(), c.err) || strings.Contains(err.Error(), "hush")) {
				t.Errorf("error %v, want %q and no secret", err, c.err)
			}
		})
	}
}

// TestWebhookFile: serve takes webhooks from a file and by flag together, and warns about URLs that other users can
// see.
func TestWebhookFile(t *testing.T) {
	file := writeFile(t, "hooks", "# no server listens there\nhttp://127.0.0.1:1/a?hush\nhttp://127.0.0.1:2/\n")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FLAVORLESS_WEBHOOKS", "http://127.0.0.1:5/")
	p := startServe(t, filepath.Join(t.TempDir(), "data"), "--log-json", "--webhook-file", file,
		"--webhook", "http://127.0.0.1:3/", "--webhook", "http://127.0.0.1:4/hush-hush-hush-hush")
	if code := p.stopped(); code != exitOK {
		t.Errorf("exit code of serve = %d, want %d", code, exitOK)
	}
	var visible, open, all []string
	for _, e := range entries(t, p.log.String()) {
		name, _ := e["webhook"].(string)
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		switch {
		case e["event"] == "webhook_visible":
			visible = append(visible, name)
		case e["event"] == "webhook_file_open":
			open = append(open, e["file"].(string))
		case e["stage"] != nil && name != "":
			all = append(all, name)
		}
	}
	if diff := cmp.Diff([]string{"127-0-0-1-4"}, visible); diff != "" {
		t.Errorf("warned of URLs that ps shows (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{file}, open); diff != "" {
		t.Errorf("warned of files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"127-0-0-1-3", "127-0-0-1-4", "127-0-0-1-1", "127-0-0-1-2"}, all); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	if strings.Contains(p.log.String(), "hush") {
		t.Errorf("log = %s, want no secret", p.log.String())
	}
}

func TestBadWebhooks(t *testing.T) {
	file := writeFile(t, "hooks", "https://example.com\nhttps://169.254.169.254/hush\n")
	for name, c := range map[string]struct {
		env  string
		args []string
		want string
	}{
		"flag": {"", []string{"--webhook", "https://example.com", "--webhook", "http://example.com/hush"},
			"flavorless: --webhook: URL 2: "},
		"environment": {"https://user:hush@example.com/", nil,
			"webhook 1: "},
		"file": {"", []string{"--webhook-file", file},
			file + ": line 2: "},
		"no file": {"", []string{"--webhook-file", file + "x"}, file + "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FLAVORLESS_WEBHOOKS", c.env)
			got := startFailing(t, filepath.Join(t.TempDir(), "data"), c.args...)
			if !strings.Contains(got, c.want) || strings.Contains(got, "hush") {
				t.Errorf("stderr %q, want %q and no secret", got, c.want)
			}
		})
	}
}

func TestWebhookSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	secret := func(stdin string, args ...string) result {
		return command(t, stdin, append([]string{"webhook-secret", "--data", dir}, args...)...)
	}
	want := secret("", "https://example.com/a?b")
	if want.code != exitOK || !strings.HasPrefix(want.out, "whsec_") {
		t.Fatalf("by argument: %+v", want)
	}
	if got := secret("# mine\nhttps://example.com/a?b\n", "-"); got != want {
		t.Errorf("by standard input: %+v, want %+v", got, want)
	}
	if got := secret("", "--webhook-file", writeFile(t, "one", "https://example.com/a?b\n")); got != want {
		t.Errorf("by file: %+v, want %+v", got, want)
	}
	several := secret("", "--webhook-file", writeFile(t, "two", "https://example.com/a?b\nhttps://example.org\n"))
	lines := strings.Split(several.out, "\n")
	if several.code != exitOK || len(lines) != 3 || !strings.HasPrefix(lines[0], "example-com-") ||
		!strings.HasSuffix(lines[0], " "+strings.TrimSpace(want.out)) || !strings.HasPrefix(lines[1], "example-org-") {
		t.Errorf("webhook-secret of two URLs = %+v, want two lines with a name and a secret", several)
	}
	for name, got := range map[string]result{
		"neither": secret(""), "both": secret("", "-", "--webhook-file", "x"), "empty": secret("\n", "-"),
		"bad": secret("x", "-"), "http": secret("", "http://example.com"),
	} {
		if got.code != exitUsage || got.out != "" {
			t.Errorf("%s: %+v, want exit code %d", name, got, exitUsage)
		}
	}
}
