// Package database opens PostgreSQL, brings its schema up to date, and tells transient failures
// from permanent ones.
//
// It owns no table. Each table is written by one package, which owners_test.go names: lists,
// recipients, mailings, ledger or ratelimit.
package database

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"directmailer/internal/neterr"
)

//go:embed migrations/*.sql
var migrations embed.FS

// MinVersion is the oldest PostgreSQL that is supported, as server_version_num counts.
const MinVersion = 140000

// ErrNotMigrated says that the schema is older than this program.
var ErrNotMigrated = errors.New("the database is not migrated: run `starter migrate`")

// Open returns a pool of at most maxConns connections to the database at url, after it has reached
// the database. Errors do not show the password.
//
// The pool notices a connection that hangs within half a minute. So a lost server ends in an error
// and not in a wait.
func Open(ctx context.Context, url string, maxConns int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New(
			"DATABASE_URL is not a PostgreSQL URL such as postgres://user:password@host:5432/database",
		)
	}
	config.MaxConns = maxConns
	SetTimeouts(&config.ConnConfig.Config)
	set := func(name, value string) {
		if _, ok := config.ConnConfig.RuntimeParams[name]; !ok {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	set("application_name", "direct-mailer")
	// A worker whose host is gone must not keep a batch's row locked for longer than it takes to
	// notice.
	set("tcp_keepalives_idle", "15")
	set("tcp_keepalives_interval", "5")
	set("tcp_keepalives_count", "3")
	set("idle_in_transaction_session_timeout", "60000")
	if config.ConnConfig.RuntimeParams["tcp_user_timeout"] == "" { // else the URL says it
		config.AfterConnect = setServerTimeout
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", redact(err))
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach the database at %s: %w", Place(url), redact(err))
	}
	return pool, nil
}

// SetTimeouts sets the timeouts of a connection, so that it notices a lost server within half a
// minute.
func SetTimeouts(config *pgconn.Config) {
	config.ConnectTimeout = 10 * time.Second
	config.DialFunc = (&net.Dialer{KeepAlive: 15 * time.Second, Control: setUserTimeout}).DialContext
}

// userTimeout is how long data may stay without an acknowledgement before a side gives the
// connection up (RFC 5482). The kernel's own limit is a quarter of an hour.
const userTimeout = 30 * time.Second

// setServerTimeout has the server notice a client that is gone, also while an answer is on its way
// to the client, when keep-alives do not help. Until the server notices, the session keeps its
// locks.
//
// The setting is not a parameter of the start, because a server or a pooler that does not know it
// would refuse the connection. A refusal of the statement changes nothing but that the server waits
// for longer.
func setServerTimeout(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.PgConn().Exec(ctx, fmt.Sprintf("SET tcp_user_timeout = %d", userTimeout.Milliseconds())).ReadAll()
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !conn.IsClosed() {
		return nil
	}
	return err
}

// Place names host, port and database of a URL, without user and password.
func Place(url string) string {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return "(unreadable URL)"
	}
	return fmt.Sprintf("%s/%s", net.JoinHostPort(config.Host, fmt.Sprint(config.Port)), config.Database)
}

// Migrate brings the schema up to date and returns the versions before and after. Two
// migrations at once wait for each other.
func Migrate(ctx context.Context, url string) (before, after int64, err error) {
	pool, err := Open(ctx, url, 4)
	if err != nil {
		return 0, 0, err
	}
	defer pool.Close()
	if _, err := CheckServer(ctx, pool); err != nil {
		return 0, 0, err
	}
	provider, err := newProvider(pool)
	if err != nil {
		return 0, 0, err
	}
	defer provider.Close()
	if before, err = provider.GetDBVersion(ctx); err != nil {
		return 0, 0, fmt.Errorf("read the schema's version: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return before, 0, fmt.Errorf("migrate the database: %w", err)
	}
	after, err = provider.GetDBVersion(ctx)
	return before, after, err
}

// CheckMigrated returns ErrNotMigrated when the schema is older than this program.
func CheckMigrated(ctx context.Context, pool *pgxpool.Pool) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var applied int
	err = pool.QueryRow(ctx, `
		SELECT count(DISTINCT version_id) FROM goose_db_version WHERE is_applied AND version_id > 0`).Scan(&applied)
	if isCode(err, "42P01") { // undefined table: never migrated
		return ErrNotMigrated
	}
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if applied < len(files) {
		return ErrNotMigrated
	}
	return nil
}

func newProvider(pool *pgxpool.Pool) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, stdlib.OpenDBFromPool(pool), files, goose.WithSessionLocker(locker))
}

// CheckServer returns the version of the server, and an error if it is older than [MinVersion].
func CheckServer(ctx context.Context, pool *pgxpool.Pool) (version string, err error) {
	var number int
	err = pool.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int`).
		Scan(&version, &number)
	if err != nil {
		return "", fmt.Errorf("read the server's version: %w", err)
	}
	if number < MinVersion {
		return version, fmt.Errorf("PostgreSQL %s is too old: %d or newer is needed", version, MinVersion/10000)
	}
	return version, nil
}

// Transient tells whether an SQLSTATE (the PostgreSQL manual's appendix A) is about a state of the
// server that can pass, so that the same statement can succeed later.
func Transient(code string) bool {
	switch code[:min(2, len(code))] {
	case "08", // connection exception
		"25", // invalid transaction state: read-only standby, a timeout of the transaction
		"28", // password or role: an operator may be changing them
		"40", // serialization failure, deadlock
		"53", // disk full, out of memory, too many connections
		"55", // lock not available
		"57", // shutdown, crash, cancel
		"58", // I/O error
		"XX": // internal error
		return true
	}
	return false
}

// Unavailable tells whether err says that the database cannot be reached or has a transient
// failure, so that the same call can succeed later. An error that did not come from the server is a
// lost connection.
func Unavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return Transient(pgErr.Code)
	}
	var connectErr *pgconn.ConnectError
	var netErr net.Error
	if errors.As(err, &connectErr) || errors.As(err, &netErr) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pgconn.ErrConnClosed) {
		return true
	}
	for _, text := range []string{"conn closed", "unexpected EOF", "closed pool"} { // errors that have no type
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// Duplicate tells whether a unique index has refused a row.
func Duplicate(err error) bool { return isCode(err, "23505") }

// Reason is a text for err that names no value of a row: PostgreSQL's own message can quote
// addresses.
func Reason(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return "PostgreSQL error " + pgErr.Code
	}
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		return "cannot connect to PostgreSQL"
	}
	if Unavailable(err) {
		return "the connection to PostgreSQL was lost"
	}
	return "the database did not do what was asked"
}

// Redact is the text of err, or [Reason] if it is PostgreSQL's own, which can quote values.
func Redact(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return Reason(err)
	}
	return err.Error()
}

func isCode(err error, code string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == code
}

// Refusal is why a connection was not made, without user and password.
func Refusal(err error) string { return redact(err).Error() }

// redact removes the words of pgx and of the server from a connect error, because they name the
// user.
func redact(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return &refusal{pgErr}
	}
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		if cause := connectErr.Unwrap(); cause != nil {
			return &unreachable{cause}
		}
	}
	return err
}

// unreachable is a connection that no server has answered.
type unreachable struct{ err error }

func (u *unreachable) Unwrap() error { return u.err }
func (u *unreachable) Error() string { return neterr.Reason(u.err) }

// refusal is a server's answer to a connection, worded without a part of that answer.
type refusal struct{ err *pgconn.PgError }

func (r *refusal) Unwrap() error { return r.err }

func (r *refusal) Error() string {
	text := "PostgreSQL error " + r.err.Code
	switch {
	case strings.HasPrefix(r.err.Code, "28"):
		return text + ": the user or the password is refused"
	case r.err.Code == "3D000":
		return text + ": there is no such database"
	case r.err.Code == "53300":
		return text + ": too many connections"
	case r.err.Code == "57P03":
		return text + ": the server is starting or stopping"
	}
	return text
}
