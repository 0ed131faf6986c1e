package database_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// withParameters returns the URL with parameters.
func withParameters(url, parameters string) string {
	if strings.Contains(url, "?") {
		return url + "&" + parameters
	}
	return url + "?" + parameters
}

// alter changes a default of the database, for sessions that begin from now on.
func alter(t *testing.T, url, setting string) {
	t.Helper()
	_, err := open(t, url).Exec(t.Context(), fmt.Sprintf(
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s', current_database()); END $$`, setting))
	if err != nil {
		t.Fatal(err)
	}
}

// The rows go to a pager, or to a program that takes its time for each.
func TestTheServerWaitsForWhoeverReadsALongAnswer(t *testing.T) {
	t.Parallel()
	pool := open(t, empty(t))
	var got string
	err := database.Read(t.Context(), pool, func(rows pgx.Rows) (err error) {
		got, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
		return err
	}, `SELECT current_setting('idle_in_transaction_session_timeout') || ', ' || current_setting('tcp_user_timeout')
		|| ', ' || current_setting('transaction_read_only')`)
	if err != nil || got != "0, 0, on" {
		t.Errorf("got %q, %v", got, err)
	}
	// What writes must not keep others waiting after its client is gone.
	err = pgx.BeginTxFunc(t.Context(), pool, database.ReadCommitted, func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SHOW idle_in_transaction_session_timeout`).Scan(&got)
	})
	if err != nil || got != "1min" {
		t.Errorf("a transaction that writes has %q, %v", got, err)
	}
	err = pgx.BeginTxFunc(t.Context(), pool, database.Holding, func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SHOW idle_in_transaction_session_timeout`).Scan(&got)
	})
	if err != nil || got != "0" {
		t.Errorf("a transaction that holds a lock has %q, %v", got, err)
	}
}

// A time-out of the role or the database must not end a statement: the same statement would fail
// again with each probe.
func TestNoTimeoutOfTheDatabaseEndsAStatement(t *testing.T) {
	t.Parallel()
	// Short statements need far less than the time-out, also on a busy machine.
	const timeout, long = "statement_timeout = 2000", `SELECT pg_sleep(2.5)`
	url := empty(t)
	alter(t, url, timeout)
	pool := open(t, url)
	// Behind a pooler, the session's settings stay as the role has them.
	behind := open(t, withParameters(url, strings.ReplaceAll(timeout, " ", "")))
	var all sync.WaitGroup
	begin := func(name string, run func() error) {
		all.Go(func() {
			if err := run(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	begin("a statement by itself", func() error {
		_, err := pool.Exec(t.Context(), long)
		return err
	})
	for name, options := range map[string]pgx.TxOptions{
		"ReadCommitted": database.ReadCommitted, "Snapshot": database.Snapshot, "ReadOnly": database.ReadOnly,
	} {
		begin(name, func() error {
			return pgx.BeginTxFunc(t.Context(), behind, options, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), long)
				return err
			})
		})
	}
	begin("Read", func() error {
		skip := func(rows pgx.Rows) error { rows.Close(); return rows.Err() }
		return database.Read(t.Context(), behind, skip, long)
	})
	all.Wait()
	if _, err := behind.Exec(t.Context(), long); err == nil {
		t.Error("the URL sets no time-out: the test shows nothing")
	}
}
