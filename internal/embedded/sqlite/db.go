package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/flavorless/flavorless/events"
)

// Config is what Open needs. Only Path is a must.
type Config struct {
	Path   string           // of the file; SQLite puts <path>-wal and <path>-shm beside it
	Clock  func() time.Time // time.Now by default
	Logger *slog.Logger     // silent by default

	// TombstoneRetention is how long a removed person is remembered: longer than any delivery can be late, or a late
	// older update brings the person back. 30 days by default.
	TombstoneRetention time.Duration

	// Relaxed leaves syncing to the checkpoints. It spares slow disks a sync per transaction; see the package's
	// comment for what a power cut may then undo.
	Relaxed bool
}

const defaultTombstoneRetention = 30 * 24 * time.Hour

const (
	readers = 4

	// Page caches in KiB. Sorted rows visit each page once, so a larger cache of the writer gains little.
	writerCache = 32 << 10
	readerCache = 4 << 10

	// A page that several transactions change goes into the file once if they lie within one checkpoint. On random
	// people 64 MiB gives 1.4 times the rows of the default 4 MiB, 128 MiB hardly more.
	checkpointPages = 64 << 20 / 4096

	// What is left of the log after a checkpoint, in bytes.
	logLimit = 128 << 20

	// How long to wait for another process, such as a backup by the sqlite3 tool, to give up the write lock.
	busyTimeout = 10 * time.Second
)

// DB is the open file. Its methods may be called concurrently.
type DB struct {
	cfg     Config
	writer  chan *writer // holds the one writer while nobody writes
	readers *sqlitex.Pool
	closed  chan struct{}
	close   func() error
	arrived signal // of changes in the outbox
}

// writer is the one connection that writes, and what belongs to it.
type writer struct {
	conn    *sqlite.Conn
	origins origins
	match   match
}

// Open opens the file, or creates it in a folder that exists.
func Open(cfg Config) (*DB, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.TombstoneRetention <= 0 {
		cfg.TombstoneRetention = defaultTombstoneRetention
	}
	db := &DB{cfg: cfg, writer: make(chan *writer, 1), closed: make(chan struct{})}
	db.close = sync.OnceValue(db.shut)
	w, err := db.openWriter()
	if err != nil {
		return nil, db.explain("opening the table", err)
	}
	// The pool opens its connections now, and prepares each when it is first used.
	db.readers, err = sqlitex.NewPool(cfg.Path, sqlitex.PoolOptions{
		Flags:    sqlite.OpenReadOnly,
		PoolSize: readers,
		PrepareConn: func(conn *sqlite.Conn) error {
			return pragmas(conn, fmt.Sprintf("cache_size = -%d", readerCache))
		},
	})
	if err != nil {
		return nil, db.explain("opening the table for reading", errors.Join(err, w.conn.Close()))
	}
	db.writer <- w
	return db, nil
}

func (db *DB) openWriter() (*writer, error) {
	conn, err := sqlite.OpenConn(db.cfg.Path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, origins: origins{conn: conn}}
	if err := db.prepareWriter(w); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return w, nil
}

func (db *DB) prepareWriter(w *writer) error {
	synchronous := "FULL"
	if db.cfg.Relaxed {
		synchronous = "NORMAL"
	}
	w.conn.SetBusyTimeout(busyTimeout)
	err := pragmas(w.conn,
		"journal_mode = WAL",
		"synchronous = "+synchronous,
		fmt.Sprintf("cache_size = -%d", writerCache),
		fmt.Sprintf("wal_autocheckpoint = %d", checkpointPages),
		fmt.Sprintf("journal_size_limit = %d", logLimit))
	if err != nil {
		return err
	}
	if err := migrate(w.conn); err != nil {
		return err
	}
	return w.conn.CreateFunction("newer", &sqlite.FunctionImpl{NArgs: 3, Scalar: w.newer})
}

func pragmas(conn *sqlite.Conn, settings ...string) error {
	for _, s := range settings {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+s, nil); err != nil {
			return fmt.Errorf("PRAGMA %s: %w", s, err)
		}
	}
	return nil
}

// Close waits for the transaction that is being written, writes the log into the file and closes it. Calls that come
// later fail.
func (db *DB) Close() error { return db.close() }

func (db *DB) shut() error {
	close(db.closed)
	w := <-db.writer
	// The writer goes last: the last connection to close removes the log, and only a writing one can.
	if err := errors.Join(db.readers.Close(), w.conn.Close()); err != nil {
		return db.explain("closing the table", err)
	}
	return nil
}

// write runs do in a transaction of the one writer. When do fails, nothing of it happened.
func (db *DB) write(ctx context.Context, doing string, do func(*writer) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	var w *writer
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case <-db.closed:
		return fmt.Errorf("%s: %w", doing, errClosed)
	case w = <-db.writer:
	}
	defer func() { db.writer <- w }()
	if err := w.transaction(do); err != nil {
		w.origins.forget() // it may hold numbers that were rolled back
		return db.explain(doing, err)
	}
	return nil
}

// transaction commits what do did, or none of it: also when do panics, because the writer serves others later.
func (w *writer) transaction(do func(*writer) error) (err error) {
	if err := sqlitex.Execute(w.conn, "BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	defer func() {
		if !w.conn.AutocommitEnabled() { // after some errors SQLite has rolled back by itself
			err = errors.Join(err, sqlitex.Execute(w.conn, "ROLLBACK", nil))
		}
	}()
	if err := do(w); err != nil {
		return err
	}
	return sqlitex.Execute(w.conn, "COMMIT", nil)
}

// read runs do on a connection of its own; ctx ends long statements.
func (db *DB) read(ctx context.Context, doing string, do func(*sqlite.Conn) error) error {
	conn, err := db.readers.Take(ctx)
	if err == nil {
		defer db.readers.Put(conn)
		err = do(conn)
	}
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil { // SQLite only says that it was interrupted
		return fmt.Errorf("%s: %w", doing, cause)
	}
	select {
	case <-db.closed:
		return fmt.Errorf("%s: %w", doing, errClosed)
	default:
		return db.explain(doing, err)
	}
}

var errClosed = errors.New("the table is closed")

// explain says what the operator can do where SQLite's own words don't. What is not the fault of what was asked for, but
// of the disk or of another process, is events.ErrUnavailable: it goes away without anybody's asking otherwise.
func (db *DB) explain(doing string, err error) error {
	hint, unavailable := "", false
	switch code := sqlite.ErrCode(err); code.ToPrimary() {
	case sqlite.ResultFull:
		hint, unavailable = ": the disk is full", true
	case sqlite.ResultIOErr:
		hint, unavailable = ": the disk fails", true
	case sqlite.ResultBusy:
		hint, unavailable = ": another process has locked it", true
	case sqlite.ResultReadOnly:
		hint, unavailable = ": the file or its folder is not writable", true
	case sqlite.ResultCantOpen:
		hint, unavailable = ": the folder is missing or not writable", true
	case sqlite.ResultNotADB:
		hint = ": the file is not an SQLite database"
	case sqlite.ResultCorrupt:
		hint = ": the file is damaged; restore it from a backup"
	}
	if unavailable {
		return fmt.Errorf("%s (%s)%s: %w: %w", doing, db.cfg.Path, hint, events.ErrUnavailable, err)
	}
	return fmt.Errorf("%s (%s)%s: %w", doing, db.cfg.Path, hint, err)
}

func (db *DB) now() int64 { return db.cfg.Clock().UnixMilli() }

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
