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

// fakeArgument makes this program serve the fake services. They have a process of their own so that their CPU time is
// not counted as that of the client.
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
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent process has ended
		_ = server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// child is another process of this program, a server. It prints its URL on the first line.
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

// fake is the process of the fake services.
type fake struct{ *child }

func startFake(ctx context.Context) (*fake, error) {
	c, err := startChild(ctx, fakeArgument)
	return &fake{c}, err
}

// counts returns and resets the counts.
func (f *fake) counts() (c fakeaws.Counts, err error) { return c, f.take("/counts", &c) }

// messages returns and removes the published messages.
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
