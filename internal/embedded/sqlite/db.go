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

// Config is the configuration of a DB. Only Path is required.
type Config struct {
	Path   string           // of the file; SQLite creates <path>-wal and <path>-shm beside it
	Clock  func() time.Time // time.Now by default
	Logger *slog.Logger     // discards records by default

	// TombstoneRetention is how long the tombstone of a removed person is kept; 30 days by default. It must be longer
	// than any delivery can be late. Otherwise a late, older update would bring the person back.
	TombstoneRetention time.Duration

	// Relaxed syncs only at checkpoints instead of in each transaction, which slow disks need. A power cut may then undo
	// transactions; see the package documentation.
	Relaxed bool
}

const defaultTombstoneRetention = 30 * 24 * time.Hour

const (
	readers = 4

	// writerCache and readerCache are the sizes of the page caches in KiB. Sorted rows visit each page once, so a larger
	// cache of the writer gains little.
	writerCache = 32 << 10
	readerCache = 4 << 10

	// checkpointPages is the size of the log, in pages, at which it is written to the file. A page that several
	// transactions changed is then written only once. With people in random order, 64 MiB gives 1.4 times the rows per
	// second of the default of 4 MiB, and 128 MiB hardly more.
	checkpointPages = 64 << 20 / 4096

	// logLimit is the maximum size in bytes of the log's file after a checkpoint.
	logLimit = 128 << 20

	// busyTimeout is how long to wait until another process, such as a backup by the sqlite3 tool, releases the lock.
	busyTimeout = 10 * time.Second
)

// DB is an open table. Its methods may be called concurrently.
type DB struct {
	cfg     Config
	writer  chan *writer // holds the writer while it is not in use
	readers *sqlitex.Pool
	closed  chan struct{}
	close   func() error
	arrived signal // sent when there are new changes in the outbox
}

// writer is the only connection that writes.
type writer struct {
	conn    *sqlite.Conn
	origins origins
	match   match
}

// Open opens the file, or creates it if its folder exists.
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
	db.close = sync.OnceValue(db.closeAll)
	w, err := db.openWriter()
	if err != nil {
		return nil, db.explain("opening the table", err)
	}
	// The pool opens all connections now, and prepares each when it is first used.
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

// Close waits for the transaction in progress, writes the log to the file and closes it. Later calls of other methods
// fail; calling Close again returns the first call's result.
func (db *DB) Close() error { return db.close() }

func (db *DB) closeAll() error {
	close(db.closed)
	w := <-db.writer
	// The writer is closed last: the last connection to close removes the log, and only one that can write is able to.
	if err := errors.Join(db.readers.Close(), w.conn.Close()); err != nil {
		return db.explain("closing the table", err)
	}
	return nil
}

// write runs do in a transaction of the writer. If do fails, the transaction is rolled back.
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
		w.origins.clear() // it may contain numbers that were rolled back
		return db.explain(doing, err)
	}
	return nil
}

// transaction runs do in a transaction. It rolls back if do fails or panics, because the writer is used again.
func (w *writer) transaction(do func(*writer) error) (err error) {
	if err := sqlitex.Execute(w.conn, "BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	defer func() {
		if !w.conn.AutocommitEnabled() { // SQLite itself rolls back after some errors
			err = errors.Join(err, sqlitex.Execute(w.conn, "ROLLBACK", nil))
		}
	}()
	if err := do(w); err != nil {
		return err
	}
	return sqlitex.Execute(w.conn, "COMMIT", nil)
}

// read runs do on a connection of its own. Long statements end when ctx does.
func (db *DB) read(ctx context.Context, doing string, do func(*sqlite.Conn) error) error {
	conn, err := db.readers.Take(ctx)
	if err == nil {
		defer db.readers.Put(conn)
		err = do(conn)
	}
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil { // SQLite's error is that it was interrupted
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

// explain adds to an error of SQLite what was being done, the file, and what the operator can do. Errors that are
// caused by the disk or by another process are events.ErrUnavailable: the same call may succeed later.
func (db *DB) explain(doing string, err error) error {
	hint, unavailable := "", false
	switch code := sqlite.ErrCode(err); code.ToPrimary() {
	case sqlite.ResultFull:
		hint, unavailable = ": the disk is full", true
	case sqlite.ResultIOErr:
		hint, unavailable = ": the disk has an I/O error", true
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
