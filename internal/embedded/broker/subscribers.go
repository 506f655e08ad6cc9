package broker

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// subscribers accepts the connections of clients from outside and passes their requests on to the server, after
// [requests] has checked them.
//
// The permissions of a NATS user limit what it may publish and subscribe to. They do not limit where the server sends
// its answers, to the reply subject of a request, and its deliveries, to the deliver subject of a consumer. The client
// chooses both, and the server sends with its own permissions. A client could use this to send an old change, or an
// answer of the server, as a new change to all other subscribers. Therefore replies and deliveries can only go to an
// inbox.
type subscribers struct {
	listener net.Listener
	connect  func() (net.Conn, error) // to the server, in process
	max      int                      // number of connections
	log      *slog.Logger

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
	active sync.WaitGroup
}

// inbox is the prefix of the subjects where clients get answers. subscriberPermissions lets them subscribe there.
const inbox = "_INBOX."

func newSubscribers(l net.Listener, connect func() (net.Conn, error), maxConns int, log *slog.Logger) *subscribers {
	return &subscribers{listener: l, connect: connect, max: maxConns, log: log, open: map[net.Conn]struct{}{}}
}

// start accepts connections until close.
func (s *subscribers) start() {
	s.active.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					s.log.Error("subscribers can no longer connect", "error", err)
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

// close ends all connections and waits for them.
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

// pass serves one connection until either side ends it.
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
	s.log.Debug("subscriber disconnected", "client", client.RemoteAddr().String(), "reason", err)
	if errors.Is(err, errProtocol) { // the server reports it to the client and closes the connection
		_ = in.SetReadDeadline(time.Now().Add(writeDeadline))
		answers.Wait()
	}
	_ = in.Close()
	answers.Wait()
}

// errProtocol means that a client violated the protocol, and that the server was sent something that violates it, too.
var errProtocol = errors.New("protocol error")

// toClient copies what the server sends. It disconnects a client that reads nothing for longer than the server waits.
func toClient(client, in net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if client.SetWriteDeadline(time.Now().Add(2*writeDeadline)) != nil {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				_ = in.Close() // also ends requests.run
				return
			}
		}
		if err != nil {
			return
		}
	}
}
