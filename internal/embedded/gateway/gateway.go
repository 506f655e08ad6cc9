package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/versity/versitygw/backend/posix"

	"github.com/flavorless/flavorless/events"
)

// Config is the configuration of a Gateway. Dir, AccessKey and SecretKey are required.
type Config struct {
	// Dir holds the objects (each bucket is a directory in Dir/objects), the latest sequencer and, if the file system
	// has no user attributes, the objects' metadata. It is created if it does not exist.
	Dir string
	// Addr is the host:port to listen on. Empty means a free port on the loopback interface.
	Addr string
	// AccessKey and SecretKey are the credential of uploaders and readers. The server itself uses another one; see
	// [Gateway.ServerCredential].
	AccessKey, SecretKey string
	// Region is the region that clients sign for; us-east-1 if empty. Requests signed for us-east-1 are always served,
	// because clients sign for it by default. Browsers' forms must be signed for Region.
	Region string
	// Buckets are created at the start if they don't exist.
	Buckets []string
	// ReadOnly are the buckets in which only the server may store and delete. Others may read and list them.
	ReadOnly []string
	// Bucket and Prefix select the objects to announce: those in Bucket whose keys start with Prefix.
	Bucket, Prefix string
	// OnStored, if non-nil, is called with each object to announce, after the object is stored and before its uploader
	// is answered. It must be safe for concurrent use and may be called more than once for an object. If it fails, the
	// uploader gets a 503; the object stays, and Objects yields it. The context ends when Drain gives up waiting.
	OnStored func(ctx context.Context, o events.Object) error
	// Origins are the web origins whose pages may use the gateway, such as https://flavors.example. By default, browsers
	// let no page use it.
	Origins []string
	// MaxObject is the maximum size of an object in bytes, uploaded at once or in parts; 5 GiB by default.
	MaxObject int64
	// CheckSpace, if non-nil, returns an error if storing that many more bytes in a bucket would fill the disk too much.
	// It is called before something is stored and repeatedly while it is received. The client gets InsufficientStorage.
	CheckSpace func(bucket string, bytes int64) error
	// MaxConnections is the maximum number of open connections (1024 by default), and MaxRequests the maximum number of
	// requests in flight (256 by default). A new connection replaces an idle one; other clients get a 503.
	MaxConnections, MaxRequests int
	// ClientTimeout is how long a client may keep the gateway waiting, for a request, for the rest of it, or to read the
	// answer; 1 minute by default. A client that keeps sending steadily may take longer; see conn.
	ClientTimeout time.Duration
	// NoSync lets the operating system decide when data reaches the disk. Uploads then survive a crash of the process, but
	// not one of the machine.
	NoSync bool
	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Logger is slog.Default() by default.
	Logger *slog.Logger
}

// Gateway is a running S3 endpoint.
type Gateway struct {
	addr   string
	store  *store
	server *server
	cancel context.CancelFunc // ends the context of OnStored

	drain, stop      sync.Once
	drained, stopped error
}

// Start opens the directory and serves it. The gateway is listening when Start returns. If the address is in use, the
// error wraps syscall.EADDRINUSE and the directory is not touched.
func Start(cfg Config) (*Gateway, error) {
	g, err := start(cfg)
	if err != nil {
		return nil, fmt.Errorf("starting the S3 gateway: %w", err)
	}
	return g, nil
}

func start(cfg Config) (*Gateway, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", cfg.Addr, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	st, err := openStore(ctx, cfg)
	if err != nil {
		cancel()
		return nil, errors.Join(err, l.Close())
	}
	srv, err := serve(cfg, st, l)
	if err != nil {
		cancel()
		return nil, errors.Join(err, l.Close(), st.close())
	}
	return &Gateway{addr: l.Addr().String(), store: st, server: srv, cancel: cancel}, nil
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Dir == "" || cfg.AccessKey == "" || cfg.SecretKey == "" {
		return cfg, errors.New("the configuration has no directory, access key or secret key")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return cfg, fmt.Errorf("making %s absolute: %w", cfg.Dir, err)
	}
	cfg.Dir = dir
	cfg.Addr = cmp.Or(cfg.Addr, "127.0.0.1:0")
	cfg.Region = cmp.Or(cfg.Region, defaultRegion)
	cfg.MaxObject = cmp.Or(cfg.MaxObject, maxCopy)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 1024)
	cfg.MaxRequests = cmp.Or(cfg.MaxRequests, 256)
	cfg.ClientTimeout = cmp.Or(cfg.ClientTimeout, time.Minute)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.CheckSpace == nil {
		cfg.CheckSpace = func(string, int64) error { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return cfg, nil
}

// Addr returns the host:port that the gateway listens on.
func (g *Gateway) Addr() string { return g.addr }

// ServerCredential returns the credential with which the server itself uses the gateway. It may store and delete in all
// buckets. It is random, changes with each start, and is kept in memory only.
func (g *Gateway) ServerCredential() Credential { return g.store.server }

// Done is closed when the gateway no longer accepts connections: after Drain, or because its listener failed.
func (g *Gateway) Done() <-chan struct{} { return g.server.served }

// Drain ends serving: the gateway stops accepting connections and finishes the requests in flight. It answers new
// requests on open connections, and lists in progress, with 503 so that clients retry. If ctx ends first, Drain closes
// the connections, cancels the context of OnStored, and returns ctx's error. The methods of Gateway that read and
// delete objects still work until Stop. Calling Drain again returns the first call's result.
func (g *Gateway) Drain(ctx context.Context) error {
	g.drain.Do(func() {
		g.drained = g.server.stop(ctx)
		g.cancel()
	})
	return g.drained
}

// Stop drains the gateway and then closes the directory. Calling Stop again returns the first call's result.
func (g *Gateway) Stop(ctx context.Context) error {
	g.stop.Do(func() {
		g.stopped = errors.Join(g.Drain(ctx), g.store.close())
	})
	return g.stopped
}

// openStore creates the directories, removes what a crash left, and creates missing buckets. OnStored is called with
// ctx.
func openStore(ctx context.Context, cfg Config) (_ *store, err error) {
	s := &store{
		root: filepath.Join(cfg.Dir, "objects"), bucket: cfg.Bucket, prefix: cfg.Prefix, readOnly: cfg.ReadOnly,
		uploader: Credential{cfg.AccessKey, cfg.SecretKey}, server: newCredential(),
		maxObject: cfg.MaxObject, checkSpace: cfg.CheckSpace, sync: !cfg.NoSync, log: cfg.Logger,
		keys: newStripes(), completions: newStripes(),
	}
	if cfg.OnStored != nil {
		s.onStored = func(o events.Object) error { return cfg.OnStored(ctx, o) }
	}
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return nil, fmt.Errorf("creating %s: %w", s.root, err)
	}
	if s.files, err = os.OpenRoot(s.root); err != nil {
		return nil, fmt.Errorf("opening %s: %w", s.root, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.meta, err = openMetadata(cfg, s.root); err != nil {
		return nil, err
	}
	// posix.New changes the working directory of the process to its argument. Several gateways in one process can't share
	// one, and the rest of the program relies on it. So the argument is ".", and the backend gets absolute paths as bucket
	// names; see store.bucketDir.
	s.posix, err = posix.New(".", s.meta, posix.PosixOpts{
		CopyObjectThreshold: maxCopy,
		IOBufferSize:        ioBuffer,
		ForceNoTmpFile:      true, // stage under a name and rename, so that a crash leaves no half-linked file
		ForceNoObjLockFile:  true, // no other process writes here
	})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", s.root, err)
	}
	if err := s.recover(); err != nil {
		return nil, err
	}
	newest := func() (int64, error) { return s.newest(ctx) }
	if s.clock, err = openClock(filepath.Join(cfg.Dir, "sequencer"), cfg.Now, newest); err != nil {
		return nil, err
	}
	for _, bucket := range cfg.Buckets {
		if err := s.ensureBucket(ctx, bucket); err != nil {
			return nil, fmt.Errorf("creating bucket %s: %w", bucket, err)
		}
	}
	return s, nil
}

// ioBuffer is the size of the buffer of each request that stores something, in bytes; versitygw's default is 1 MiB.
const ioBuffer = 128 << 10
