package database_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
)

// PgBouncer with its defaults refuses startup parameters that it does not know, and in transaction
// mode gives each transaction to another session.
func TestADatabaseIsMigratedAndUsedThroughAPooler(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			url := servertest.PgBouncer(t, empty(t), mode)
			var all sync.WaitGroup
			for range 2 { // one waits for the other
				all.Go(func() { migrate(t, url) })
			}
			all.Wait()
			if before, after := migrate(t, url); before != after {
				t.Errorf("migrated again from %d to %d", before, after)
			}
			pool := open(t, url)
			if err := database.CheckMigrated(t.Context(), pool); err != nil {
				t.Error(err)
			}
			for range 50 { // prepared statements would be those of other sessions
				all.Go(func() {
					err := pgx.BeginTxFunc(t.Context(), pool, database.ReadCommitted, func(tx pgx.Tx) error {
						var level, timeout string
						err := tx.QueryRow(t.Context(), `SELECT current_setting('transaction_isolation'),
							current_setting('statement_timeout') WHERE $1 > 0`, 1).Scan(&level, &timeout)
						if level != "read committed" || timeout != "0" {
							t.Errorf("isolation %q, time-out %q (%v)", level, timeout, err)
						}
						return err
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		})
	}
}

// A setting that is made in a pooler's session would hold for other programs, too.
func TestNothingOfASessionBehindAPoolerIsChanged(t *testing.T) {
	t.Parallel()
	url := empty(t)
	alter(t, url, "statement_timeout = 60000")
	pool := open(t, servertest.PgBouncer(t, url, "transaction"))
	if _, err := pool.Exec(t.Context(), `SELECT 1`); err != nil {
		t.Fatal(err)
	}
	var timeout string
	if err := pool.QueryRow(t.Context(), `SHOW statement_timeout`).Scan(&timeout); err != nil || timeout != "1min" {
		t.Errorf("statement_timeout is %s (%v)", timeout, err)
	}
}

func TestAParameterThatAPoolerRefusesIsNamed(t *testing.T) {
	t.Parallel()
	at := withParameters(servertest.PgBouncer(t, empty(t), "transaction"), "search_path=secret")
	_, err := database.Open(t.Context(), at, 1)
	checkError(t, err, true)
	if err != nil && !strings.Contains(err.Error(), "PostgreSQL error 08P01 (search_path): a pooler refuses a parameter") {
		t.Error(err)
	}
}
