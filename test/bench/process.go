package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/flavorless/flavorless/test/bench/fakeaws"
)

// fakeArgument makes this program the fake services, in a process of their own: their CPU time is not to be counted as
// the clients'. They end with the standard input.
const fakeArgument = "fake-services"

func serveFake() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return serveChild(listener, fakeaws.New())
}

// serveChild serves until the standard input ends.
func serveChild(listener net.Listener, handler http.Handler) error {
	fmt.Println("http://" + listener.Addr().String())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // however it ends
		_ = server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// child is this program in another process, as a server. It tells its URL on a line of its own.
type child struct {
	url   string
	stdin io.Closer
	cmd   *exec.Cmd
}

func startChild(ctx context.Context, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, args...)}
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	c.url = strings.TrimSpace(line)
	return c, err
}

func (c *child) stop() error {
	if err := c.stdin.Close(); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// fake is the other process that is the services.
type fake struct{ *child }

func startFake(ctx context.Context) (*fake, error) {
	c, err := startChild(ctx, fakeArgument)
	return &fake{c}, err
}

// counts takes them.
func (f *fake) counts() (c fakeaws.Counts, err error) { return c, f.take("/counts", &c) }

// messages takes what was published.
func (f *fake) messages() (m []string, err error) { return m, f.take("/messages", &m) }

func (f *fake) take(path string, v any) error {
	answer, err := http.Get(f.url + path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.UnmarshalRead(answer.Body, v)
}

// put stores an object.
func (f *fake) put(bucket, key string, body []byte) error {
	r, err := http.NewRequest(http.MethodPut, f.url+"/"+bucket+"/"+key, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}
