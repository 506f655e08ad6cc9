package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/internal/local"
	"github.com/flavorless/flavorless/internal/testutil"
)

// mortal is the real program on a data folder, life after life.
type mortal struct {
	t       *testing.T
	program string
	dir     string   // of its data
	args    []string // more of them
	small   bool     // its disk may be full
	lives   int
	life    *life
	pid     atomic.Int64   // of the life
	seen    map[string]int // lines of the logs, by level and message
}

// noSpace is in a line of the log because of a full disk.
const noSpace = "no space left on device"

// life is one process.
type life struct {
	*exec.Cmd
	ended chan struct{}  // closed at the end of its log
	last  []string       // lines of the log
	seen  map[string]int // likewise, by level and message

	mu     sync.Mutex
	behind string // it is to end behind such a line of its log
	after  int    // and so many of them
}

func newMortal(t *testing.T) *mortal {
	t.Helper()
	dir := t.TempDir()
	m := &mortal{t: t, program: filepath.Join(dir, "flavorless"), dir: filepath.Join(dir, "data"), seen: map[string]int{}}
	// Without the race detector: the moments of a kill should be those of the program that people run.
	build := exec.CommandContext(t.Context(), "go", "build", "-o", m.program, "../cmd/flavorless")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building flavorless: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if m.life != nil {
			_ = m.life.Process.Kill()
			<-m.life.ended
			_ = m.life.Wait()
		}
		if t.Failed() && m.life != nil {
			t.Logf("the end of life %d's log:\n%s", m.lives, strings.Join(m.life.last, ""))
		}
	})
	return m
}

// start begins a life. It does not wait until it is ready.
func (m *mortal) start() {
	m.t.Helper()
	l := &life{ended: make(chan struct{}), seen: map[string]int{}}
	// Every port is a free one: another process may take the old one in the meantime. Files are read in pieces, mostly.
	l.Cmd = exec.CommandContext(context.WithoutCancel(m.t.Context()), m.program, append([]string{"serve", "--verbose", "--log-json", "--data", m.dir,
		"--api", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--read-for", "1ms"}, m.args...)...)
	log, err := l.StderrPipe()
	if err == nil {
		err = l.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.lives++
	m.life = l
	m.pid.Store(int64(l.Process.Pid))
	go l.read(log)
}

// fall lets the life end at once behind the nth line of its log, from now on, that has a text.
func (l *life) fall(behind string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind, l.after = behind, n
}

// passed tells whether that was the line.
func (l *life) passed(line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.after > 0 && strings.Contains(line, l.behind) {
		l.after--
		return l.after == 0
	}
	return false
}

func (l *life) read(log io.Reader) {
	defer close(l.ended)
	for lines := bufio.NewReader(log); ; {
		line, err := lines.ReadString('\n')
		if l.passed(line) {
			_ = l.Process.Kill()
		}
		if l.last = append(l.last, line); len(l.last) > 1000 {
			l.last = slices.Delete(l.last, 0, 500)
		}
		var entry struct{ Level, Msg, Line string }
		if json.Unmarshal([]byte(line), &entry) == nil {
			if entry.Level == "ERROR" && entry.Line != "" { // of the NATS server
				entry.Msg += ": " + entry.Line
			}
			if strings.Contains(line, noSpace) || strings.Contains(line, "JetStream out of space") {
				entry.Msg += ": " + noSpace
			}
			l.seen[entry.Level+" "+entry.Msg]++
		}
		if err != nil {
			return
		}
	}
}

// kill ends the life without a chance to do anything, and makes sure that it had not ended by itself.
func (m *mortal) kill() {
	m.t.Helper()
	_ = m.life.Process.Kill()
	<-m.life.ended
	_ = m.life.Wait()
	if status, ok := m.life.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		m.t.Fatalf("life %d ended by itself: %s", m.lives, m.life.ProcessState)
	}
	m.bury()
}

// stop ends the last life as an operator does. It ends long before it would give up waiting for connections.
func (m *mortal) stop() {
	m.t.Helper()
	if err := m.life.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Fatal(err)
	}
	select {
	case <-m.life.ended:
	case <-time.After(25 * time.Second):
		_ = m.life.Process.Signal(syscall.SIGQUIT) // to see where it hangs
		<-m.life.ended
	}
	if err := m.life.Wait(); err != nil {
		m.t.Errorf("stopping: %v", err)
	}
	m.bury()
}

func (m *mortal) bury() {
	for message, n := range m.life.seen {
		m.seen[message] += n
		expected := message == "ERROR a message is a dead letter now" || m.small && strings.HasSuffix(message, noSpace)
		if strings.HasPrefix(message, "ERROR") && !expected {
			m.t.Errorf("life %d logged: %s", m.lives, message)
		}
	}
}

// ready waits until the life is ready.
func (m *mortal) ready() local.Info {
	m.t.Helper()
	info, is := m.begun()
	if !is {
		m.t.Fatalf("life %d ended before it was ready", m.lives)
	}
	return info
}

// begun waits until the life is ready, or has ended by itself.
func (m *mortal) begun() (info local.Info, ready bool) {
	m.t.Helper()
	testutil.WaitFor(m.t, "the server to be ready", func() bool {
		if info, ready = m.info(); ready {
			return true
		}
		select {
		case <-m.life.ended:
			return true
		default:
			return false
		}
	})
	return info, ready
}

// info tells how to reach the life that there is, if it is ready.
func (m *mortal) info() (local.Info, bool) {
	info, err := local.ReadInfo(m.dir)
	return info, err == nil && int64(info.PID) == m.pid.Load()
}

// s3Client does not try again: what became of a request whose answer was lost is for the test to find out.
func s3Client(info local.Info) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(info.S3), Region: info.Region, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(info.AccessKey, info.SecretKey, ""),
		HTTPClient:  &http.Client{Timeout: time.Minute},
	})
}

// get asks the API of the last life.
func (m *mortal) get(info local.Info, route string, answer any) {
	m.t.Helper()
	is, err := issuer.Open(issuer.Config{Dir: local.IssuerDir(m.dir)})
	if err != nil {
		m.t.Fatal(err)
	}
	token, err := is.Sign(issuer.Grant{Subject: "test", Audience: info.Audience, TTL: time.Hour})
	if err != nil {
		m.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, info.API+route, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, answer)
	}
	if err != nil {
		m.t.Fatalf("GET %s: %v", route, err)
	}
}

// command runs the program as an operator would.
func (m *mortal) command(args ...string) string {
	m.t.Helper()
	out, err := exec.CommandContext(m.t.Context(), m.program, append(args, "--data", m.dir)...).Output()
	if err != nil {
		m.t.Fatalf("flavorless %v: %v", args, err)
	}
	return string(out)
}

// crew is what goes on while the lives come and go.
type crew struct {
	ctx     context.Context //nolint:containedctx // of all of it
	dismiss context.CancelFunc
	work    sync.WaitGroup
}

// alive waits for a life that is ready, or for the crew to be dismissed.
func (c *crew) alive(m *mortal) (local.Info, bool) {
	for {
		if info, found := m.info(); found {
			return info, true
		}
		if !c.pause(5 * time.Millisecond) {
			return local.Info{}, false
		}
	}
}

// pause lets some time pass, unless the crew is dismissed.
func (c *crew) pause(d time.Duration) bool {
	select {
	case <-c.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
