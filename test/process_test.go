package test

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/testutil/program"
)

// process is one run of the real program.
type process struct {
	cmd      *exec.Cmd
	ended    chan struct{}  // closed when its log ends
	tail     []string       // the last lines of its log
	messages map[string]int // how often it logged each message that is about an upload
	errors   []string       // messages that it logged as errors and that are never expected
	diskFull []string       // messages that it logged as errors because the disk was full

	mu       sync.Mutex
	killAt   string // the message after which the process is killed; "" stands for any
	killLeft int    // how many more times that message has to be logged; 0 means that the process is not killed
}

// noSpace is how the operating system describes a full disk; natsNoSpace is what the NATS server logs then.
const (
	noSpace     = "no space left on device"
	natsNoSpace = "JetStream out of space"
)

// startProcess starts the program on a data folder. It does not wait until the program is ready.
func startProcess(t *testing.T, path, data string, args ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{}), messages: map[string]int{}}
	// Every start uses new ports, because another process may have taken the old ones. --read-for makes the program read
	// most files in several parts.
	p.cmd = program.Serve(path, data, append([]string{"--verbose", "--log-json", "--read-for", "1ms"}, args...)...)
	log, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go p.readLog(log)
	return p
}

// killAfter makes the process die right after it has logged a message n more times.
func (p *process) killAfter(message string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killAt, p.killLeft = message, n
}

// mustDie reports whether the process has to be killed after a message.
func (p *process) mustDie(message string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killLeft > 0 && (p.killAt == "" || p.killAt == message) {
		p.killLeft--
		return p.killLeft == 0
	}
	return false
}

func (p *process) readLog(log io.Reader) {
	defer close(p.ended)
	for lines := bufio.NewReader(log); ; {
		line, err := lines.ReadString('\n')
		var entry struct {
			Level, Msg string
			Upload     string // an upload id
			ID         string // of a message in a queue
			Tries      int
		}
		if json.Unmarshal([]byte(line), &entry) == nil {
			if p.mustDie(entry.Msg) {
				_ = p.cmd.Process.Kill()
			}
			if entry.Upload != "" {
				p.messages[entry.Msg]++
			}
			deadLetter := entry.ID != "" && entry.Tries > 0
			switch {
			case entry.Level != "ERROR" || deadLetter:
			case strings.Contains(line, noSpace), strings.Contains(line, natsNoSpace):
				p.diskFull = append(p.diskFull, line)
			default:
				p.errors = append(p.errors, line)
			}
		}
		if p.tail = append(p.tail, line); len(p.tail) > 1000 {
			p.tail = slices.Delete(p.tail, 0, 500)
		}
		if err != nil {
			return
		}
	}
}

// kill ends the process with SIGKILL, and reports whether it was still running.
func (p *process) kill() bool {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.cmd.Wait()
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}

// stop ends the process with SIGTERM. It has to end long before it would give up waiting for connections.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(25 * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // prints where it hangs
		<-p.ended
	}
	return p.cmd.Wait()
}
