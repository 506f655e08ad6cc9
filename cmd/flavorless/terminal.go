package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// terminal holds the streams of a command. Colors and progress bars appear only on terminals.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	colors   bool // whether out is a terminal and NO_COLOR is not set (https://no-color.org)
	progress bool // whether err is a terminal
	width    int  // columns of out; 0 if it is not a terminal
	wide     bool // whether tables may be wider than out
}

func newTerminal(in, out, err *os.File) *terminal {
	columns, _, noTerminal := term.GetSize(int(out.Fd()))
	if noTerminal != nil {
		columns = 0
	}
	return &terminal{
		in: in, out: out, err: err,
		colors:   term.IsTerminal(int(out.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		progress: term.IsTerminal(int(err.Fd())) && os.Getenv("TERM") != "dumb",
		width:    columns,
	}
}

func (t *terminal) printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// errorf prints a message to standard error. The message may quote text of others, so it is made printable.
func (t *terminal) errorf(format string, args ...any) {
	lines := strings.Split(fmt.Sprintf("flavorless: "+format, args...), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	fmt.Fprintln(t.err, strings.Join(lines, "\n"))
}

// Styles, as ANSI codes.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (t *terminal) style(code, text string) string {
	if !t.colors || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// json prints one value on one line.
func (t *terminal) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = t.out.Write(append(b, '\n'))
	return err
}

// bar returns a progress bar of max bytes, which is invisible if standard error is not a terminal.
func (t *terminal) bar(max int64, description string) *progressbar.ProgressBar {
	w := t.err
	if !t.progress {
		w = io.Discard
	}
	return progressbar.NewOptions64(max,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(truncate(description, 30)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(24), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true),
	)
}

// printable returns text in a form that is safe to print: control characters, line separators, characters that change
// the direction of the text, and bytes that are not UTF-8 are escaped as in a Go string.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n':
			b.WriteRune('⏎')
		case r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0x7f && r < 0xa0, r >= '\u2028' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// displayName returns a key or a file name in a form that is safe to print. Names with invisible characters, or with a
// space at an end, are quoted.
func displayName(name string) string {
	quoted := strconv.Quote(name)
	if quoted[1:len(quoted)-1] == name && strings.TrimSpace(name) == name && name != "" {
		return name
	}
	return quoted
}

// shellWord returns s as one word for a POSIX shell, quoted if necessary.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("/.-_", r) || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return shellQuote(s)
}

// shellQuote returns s in quotes for a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
