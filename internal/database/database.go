// Package database opens PostgreSQL, brings its schema up to date, and tells transient failures
// from permanent ones.
//
// It owns no table. One package writes each table: owners_test.go names it.
package database

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// minVersion is the oldest PostgreSQL that is supported, as server_version_num counts.
const minVersion = 140000

// ErrNotMigrated says that the schema is older than this program.
var ErrNotMigrated = errors.New("the database is not migrated: run `starter migrate`")

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
	unlock, err := Lock(ctx, pool, "migrations of Direct Mailer")
	if err != nil {
		return 0, 0, fmt.Errorf("wait for other migrations: %w", err)
	}
	defer unlock()
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
		return fmt.Errorf("read the schema's version: %w", redact(err))
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
	return goose.NewProvider(goose.DialectPostgres, stdlib.OpenDBFromPool(pool), files)
}

// Lock keeps others out who lock the same name in this database, until unlock is called.
//
// The lock is that of a transaction. A transaction pooler could take the lock of a session in one
// session, look for it in another, and keep it for ever.
func Lock(ctx context.Context, pool *pgxpool.Pool, name string) (unlock func(), err error) {
	tx, err := pool.BeginTx(ctx, ReadCommitted)
	if err != nil {
		return nil, err
	}
	unlock = func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }
	// The transaction is idle for as long as the lock is held.
	_, err = tx.Exec(ctx, `SELECT set_config('idle_in_transaction_session_timeout', '0', true),
		pg_advisory_xact_lock(hashtextextended($1, 0))`, name)
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// CheckServer returns the version of the server, and an error if it is older than [minVersion].
func CheckServer(ctx context.Context, pool *pgxpool.Pool) (version string, err error) {
	var number int
	err = pool.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int`).
		Scan(&version, &number)
	if err != nil {
		return "", fmt.Errorf("read the server's version: %w", redact(err))
	}
	if number < minVersion {
		return version, fmt.Errorf("PostgreSQL %s is too old: %d or newer is needed", version, minVersion/10000)
	}
	return version, nil
}
