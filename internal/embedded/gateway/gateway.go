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

// Config says what to serve, where, and whom to tell.
type Config struct {
	// Dir holds everything: the objects (buckets are directories below Dir/objects), the clock's mark, and the objects'
	// metadata where the file system has no user attributes. It is created when missing.
	Dir string
	// Addr is the host:port to listen on. Empty means a free port on the loopback interface, as does 127.0.0.1:0.
	Addr string
	// AccessKey and SecretKey are the credential of those who upload and read. Both are required. The gateway makes
	// another one for the server itself; see [Gateway.Server].
	AccessKey, SecretKey string
	// Region is what clients have to sign for; us-east-1 if empty. Requests that are signed for us-east-1 are always served, because
	// clients sign for it by default, but browsers' forms only in Region.
	Region string
	// Buckets are created at the start when missing.
	Buckets []string
	// ReadOnly are the buckets in which only the server may store and delete; others may read and list them.
	ReadOnly []string
	// Bucket and Prefix select what is announced: the objects of this bucket whose keys start with this prefix.
	Bucket, Prefix string
	// OnStored is told of each object after it is stored and before its uploader gets an answer. It must be safe for
	// concurrent use, and may be told of one object more than once. When it fails, the uploader gets a 503; the object
	// stays, and is found by Objects. The context ends when Stop gives up waiting. Nil means that nobody is told.
	OnStored func(ctx context.Context, o events.Object) error
	// Origins are the web origins whose pages may use the gateway, such as https://flavors.example, as browsers write them. By
	// default browsers keep all pages out.
	Origins []string
	// MaxObject is the greatest size of an object in bytes, put in one or in parts; 5 GiB, which S3 takes in one.
	MaxObject int64
	// CheckSpace tells, by an error, that so many bytes more in that bucket would fill the disk too much. It is asked before anything is stored,
	// and now and then while it comes in. The client is told InsufficientStorage. Nil always has room.
	CheckSpace func(bucket string, bytes int64) error
	// MaxConnections may be open at the same time (1024), and MaxRequests under way (256). Beyond, clients get a 503 and try
	// again. A new connection takes the place of an idle one.
	MaxConnections, MaxRequests int
	// ClientTimeout is how long a client may keep the gateway waiting, for a request, for its rest or to take the answer; 1 minute.
	// See conn.
	ClientTimeout time.Duration
	// NoSync leaves it to the operating system when data reaches the disk. Uploads still survive a crash of the process,
	// but not one of the machine.
	NoSync bool
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Logger gets what fails inside; slog.Default() if nil.
	Logger *slog.Logger
}

// Gateway is a running S3 endpoint.
type Gateway struct {
	addr   string
	store  *store
	server *server
	cancel context.CancelFunc // ends what Stored is given

	drain, stop      sync.Once
	drained, stopped error
}

// Start opens the directory and serves it; it is listening when it returns. If the address is taken, nothing is touched
// and the error is syscall.EADDRINUSE (errors.Is).
func Start(cfg Config) (*Gateway, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("gateway: listening on %s: %w", cfg.Addr, err)
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
		return cfg, errors.New("gateway: a directory, an access key and a secret key are needed")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return cfg, fmt.Errorf("gateway: making %s absolute: %w", cfg.Dir, err)
	}
	cfg.Dir = dir
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Region == "" {
		cfg.Region = usualRegion
	}
	cfg.MaxObject = cmp.Or(cfg.MaxObject, copyLimit)
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 1024)
	cfg.MaxRequests = cmp.Or(cfg.MaxRequests, 256)
	cfg.ClientTimeout = cmp.Or(cfg.ClientTimeout, time.Minute)
	if cfg.CheckSpace == nil {
		cfg.CheckSpace = func(string, int64) error { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg, nil
}

// Addr is the host:port that the gateway listens on.
func (g *Gateway) Addr() string { return g.addr }

// ServerCredential returns the credential with which the server itself uses the gateway: it may store and delete in all buckets.
// It is another one at each start, is not stored, and is nobody else's.
func (g *Gateway) ServerCredential() Credential { return g.store.server }

// Done is closed when the gateway accepts no more connections: after Stop, or because its listener failed.
func (g *Gateway) Done() <-chan struct{} { return g.server.served }

// Drain ends serving: the gateway stops accepting connections and finishes the requests in flight. It answers requests that
// only begin, and lists, with 503 so that clients retry. If ctx ends first, Drain cuts the connections, cancels Stored's
// context, and returns ctx's error. Objects, Remove and the like still work until Stop. Calling Drain again returns the first
// call's result.
func (g *Gateway) Drain(ctx context.Context) error {
	g.drain.Do(func() {
		g.drained = g.server.stop(ctx)
		g.cancel()
	})
	return g.drained
}

// Stop is Drain, and then closes the directory. Calling it again returns the first call's result.
func (g *Gateway) Stop(ctx context.Context) error {
	g.stop.Do(func() {
		g.stopped = errors.Join(g.Drain(ctx), g.store.close())
	})
	return g.stopped
}

// openStore makes the directories, clears what a crash left, and creates the missing buckets.
func openStore(ctx context.Context, cfg Config) (*store, error) {
	s := &store{
		root: filepath.Join(cfg.Dir, "objects"), bucket: cfg.Bucket, prefix: cfg.Prefix, readOnly: cfg.ReadOnly,
		uploader: Credential{cfg.AccessKey, cfg.SecretKey}, server: newCredential(),
		stored: cfg.OnStored, maxObject: cfg.MaxObject, room: cfg.CheckSpace, sync: !cfg.NoSync, log: cfg.Logger, life: ctx,
		keys: newStripes(), completions: newStripes(),
	}
	if err := os.MkdirAll(s.root, 0o700); err != nil {
		return nil, fmt.Errorf("gateway: creating %s: %w", s.root, err)
	}
	var err error
	if s.files, err = os.OpenRoot(s.root); err != nil {
		return nil, fmt.Errorf("gateway: opening %s: %w", s.root, err)
	}
	if s.meta, err = openMetadata(cfg, s.root); err != nil {
		return nil, errors.Join(err, s.files.Close())
	}
	// "." because posix.New changes the process's working directory to what it is given, which several gateways in one
	// process could not share, nor could the rest of the program trust its relative paths: so it is told to stay where
	// we are, and is given buckets as absolute paths instead (see store.at).
	s.posix, err = posix.New(".", s.meta, posix.PosixOpts{
		CopyObjectThreshold: copyLimit,
		IOBufferSize:        ioBuffer,
		ForceNoTmpFile:      true, // staged under a name and renamed: no half-linked file among the objects after a crash
		ForceNoObjLockFile:  true, // no other process writes here
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gateway: opening %s: %w", s.root, err), s.files.Close())
	}
	if err := s.recover(); err != nil {
		s.posix.Shutdown()
		return nil, errors.Join(err, s.files.Close())
	}
	s.clock, err = openClock(filepath.Join(cfg.Dir, "sequencer"), cfg.Now, s.newest)
	if err != nil {
		s.posix.Shutdown()
		return nil, errors.Join(err, s.files.Close())
	}
	for _, bucket := range cfg.Buckets {
		if err := s.ensureBucket(ctx, bucket); err != nil {
			return nil, errors.Join(fmt.Errorf("gateway: creating bucket %s: %w", bucket, err), s.close())
		}
	}
	return s, nil
}

// ioBuffer is what each request that stores something takes of memory, in bytes; versitygw would take 1 MiB.
const ioBuffer = 128 << 10
