package broker

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// subscribers accepts the connections of clients outside and passes them on to the server, after a look at what each
// client sends.
//
// The permissions of a NATS user say what it may publish and subscribe to. They do not say where the server sends its
// answers: to the reply subject of a request, and to the deliver subject of a consumer, which the client chooses. Such a
// message counts as the server's own. A client could so pass off an old change, or an answer of the server, as a new change
// to everybody who subscribes to the changes. Here, replies and deliveries can only go to an inbox.
type subscribers struct {
	listener net.Listener
	connect  func() (net.Conn, error) // to the server, in process
	max      int                      // connections at the same time
	log      *slog.Logger

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
	active sync.WaitGroup
}

// inbox begins the subjects at which clients await answers; subscriberPermissions let them subscribe there.
const inbox = "_INBOX."

// serve accepts connections until close.
func (s *subscribers) serve() {
	s.active.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					s.log.Error("subscribers can't connect any more", "error", err)
				}
				return
			}
			if !s.add(conn) {
				_ = conn.SetWriteDeadline(time.Now().Add(writeDeadline))
				_, _ = io.WriteString(conn, "-ERR 'maximum connections exceeded'\r\n")
				_ = conn.Close()
				continue
			}
			s.active.Go(func() {
				defer s.remove(conn)
				s.pass(conn)
			})
		}
	})
}

func (s *subscribers) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.open) >= s.max {
		return false
	}
	s.open[conn] = struct{}{}
	return true
}

func (s *subscribers) remove(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
}

// close ends all connections and waits until nothing uses them.
func (s *subscribers) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for conn := range s.open {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.active.Wait()
}

// pass carries one connection until either side ends it.
func (s *subscribers) pass(client net.Conn) {
	defer client.Close()
	in, err := s.connect()
	if err != nil {
		return // the server is being stopped
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		defer client.Close()
		toClient(client, in)
	})
	err = newRequests(client, in).run()
	s.log.Debug("a subscriber's connection ended", "client", client.RemoteAddr().String(), "reason", err)
	if errors.Is(err, errProtocol) { // the server says so to the client, and closes the connection
		_ = in.SetReadDeadline(time.Now().Add(writeDeadline))
		answers.Wait()
	}
	_ = in.Close()
	answers.Wait()
}

// errProtocol means that a client broke the protocol, and that the server was sent something that breaks it likewise.
var errProtocol = errors.New("protocol error")

// toClient copies what the server sends. A client that takes nothing for longer than the server waits is cut off.
func toClient(client, in net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if client.SetWriteDeadline(time.Now().Add(2*writeDeadline)) != nil {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				_ = in.Close() // ends requests.run as well
				return
			}
		}
		if err != nil {
			return
		}
	}
}
