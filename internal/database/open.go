package database

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Open returns a pool of at most maxConns connections to the database at url, after it has reached
// the database. Errors do not show the password.
//
// The pool notices a connection that hangs within half a minute. So a lost server ends in an error
// and not in a wait. It throws away the sessions of a server that accepts no writes any more, and
// works behind a pooler such as PgBouncer.
func Open(ctx context.Context, url string, maxConns int32) (*pgxpool.Pool, error) {
	if _, err := ParseURL(url); err != nil {
		return nil, fmt.Errorf("DATABASE_URL cannot be used: %w", err)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil { // a parameter of the pool
		return nil, fmt.Errorf("DATABASE_URL cannot be used: %w", errURL)
	}
	config.MaxConns = maxConns
	SetTimeouts(&config.ConnConfig.Config)
	acceptWriters(&config.ConnConfig.Config)
	s := &sessions{modeGiven: strings.Contains(url, "default_query_exec_mode")}
	s.configure(config)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", redact(err))
	}
	s.pool.Store(pool)
	err = pool.Ping(ctx)
	if errors.Is(err, errPooler) {
		err = pool.Ping(ctx)
	}
	if err != nil {
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

// acceptWriters leaves out standbys where the URL names several hosts, unless it says itself which
// of them to use (target_session_attrs).
func acceptWriters(config *pgconn.Config) {
	others := slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.Host != config.Host || f.Port != config.Port // else it is the same host without TLS
	})
	if others && config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
}

// userTimeout is how long data may stay without an acknowledgement before a side gives the
// connection up (RFC 5482). The kernel's own limit is a quarter of an hour.
const userTimeout = 30 * time.Second

// sessionSettings are set after connecting, and not as parameters of the start: a pooler refuses a
// connection with parameters that it does not know. A setting that the URL has is left out.
//
// A worker whose host is gone must not keep a batch's row locked for longer than it takes to
// notice. The server has to notice it also while an answer is on its way to the client, when
// keep-alives do not help: tcp_user_timeout is set after these, because not every system has it.
// Statements that are no part of a transaction do not depend on the defaults of a role or a
// database either (see [TransactionSettings]).
var sessionSettings = []struct{ name, value string }{
	{"tcp_keepalives_idle", "15"},
	{"tcp_keepalives_interval", "5"},
	{"tcp_keepalives_count", "3"},
	{"idle_in_transaction_session_timeout", "60000"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
}

// sessions sets up the connections of one pool.
type sessions struct {
	pool      atomic.Pointer[pgxpool.Pool] // nil until it is there
	modeGiven bool                         // the URL says in which mode pgx sends statements
	pooler    atomic.Bool                  // the connections lead to a pooler
	reset     atomic.Int64                 // when the pool was last reset, in nanoseconds
}

func (s *sessions) configure(config *pgxpool.Config) {
	given := config.ConnConfig.RuntimeParams
	if _, ok := given["application_name"]; !ok {
		given["application_name"] = "direct-mailer" // which poolers accept
	}
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		if s.pooler.Load() && !s.modeGiven {
			c.DefaultQueryExecMode = pgx.QueryExecModeExec
		}
		return nil
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error { return s.setUp(ctx, conn, given) }
	config.ConnConfig.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) bool {
		if acceptsNoWrites(err) {
			s.dropAll()
			return false
		}
		return !strings.EqualFold(err.Severity, "FATAL")
	}
}

// acceptsNoWrites reports whether the server is no primary any more, or is about to stop. Other
// sessions of the pool are as useless as the one with the error.
func acceptsNoWrites(err *pgconn.PgError) bool {
	switch err.Code {
	case "25006", "57P01", "57P02", "57P03":
		return true
	}
	return false
}

// dropAll closes the sessions that nobody uses, and each other session when it is given back. It
// does so once a second at most: where no host accepts writes, new sessions fail as well.
func (s *sessions) dropAll() {
	now := time.Now().UnixNano()
	last := s.reset.Load()
	pool := s.pool.Load()
	if pool == nil || now-last < int64(time.Second) || !s.reset.CompareAndSwap(last, now) {
		return
	}
	go pool.Reset() // the caller holds a connection, which Reset does not wait for
}

// errPooler says that a connection was the first to find out that it leads to a pooler: the next
// one is made for it.
var errPooler = errors.New("a pooler is in front of PostgreSQL: connecting again in the way that poolers need")

// setUp sets the session up. Of a session behind a pooler it changes nothing, because the pooler
// may give the session to others; transactions have what they need in [TransactionSettings].
func (s *sessions) setUp(ctx context.Context, conn *pgx.Conn, given map[string]string) error {
	pid, err := serverProcess(ctx, conn.PgConn())
	if err != nil {
		return err
	}
	if pid != fmt.Sprint(conn.PgConn().PID()) {
		s.pooler.Store(true)
		if !s.modeGiven && conn.Config().DefaultQueryExecMode != pgx.QueryExecModeExec {
			return errPooler
		}
		return nil
	}
	var all strings.Builder
	for _, set := range sessionSettings {
		if _, ok := given[set.name]; !ok {
			fmt.Fprintf(&all, "SET %s = %s;", set.name, set.value)
		}
	}
	if err := setIfKnown(ctx, conn, all.String()); err != nil {
		return err
	}
	if _, ok := given["tcp_user_timeout"]; ok {
		return nil
	}
	return setIfKnown(ctx, conn, fmt.Sprintf("SET tcp_user_timeout = %d", userTimeout.Milliseconds()))
}

// setIfKnown executes a SET. If the server refuses it, because its system does not have the
// setting, only the default stays.
func setIfKnown(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !conn.IsClosed() {
		return nil
	}
	return err
}

// serverProcess returns the number of the server's process that works for the connection. A pooler
// gives its clients other numbers, because one process works for several of them.
func serverProcess(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	results, err := conn.Exec(ctx, `SELECT pg_backend_pid()`).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return "", nil
	}
	return string(results[0].Rows[0][0]), nil
}
