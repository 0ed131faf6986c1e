package database_test

import (
	"fmt"
	"strings"
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

// A time-out of the role or the database must not end a statement: the same statement would fail
// again with each probe.
func TestNoTimeoutOfTheDatabaseEndsAStatement(t *testing.T) {
	t.Parallel()
	url := empty(t)
	alter(t, url, "statement_timeout = 50")
	pool := open(t, url)
	if _, err := pool.Exec(t.Context(), `SELECT pg_sleep(0.2)`); err != nil {
		t.Errorf("a statement by itself: %v", err)
	}
	// Behind a pooler, the session's settings stay as the role has them.
	pool = open(t, withParameters(url, "statement_timeout=50"))
	if _, err := pool.Exec(t.Context(), `SELECT pg_sleep(0.2)`); err == nil {
		t.Error("the URL sets no time-out: the test shows nothing")
	}
	for name, options := range map[string]pgx.TxOptions{
		"ReadCommitted": database.ReadCommitted, "Snapshot": database.Snapshot, "ReadOnly": database.ReadOnly,
	} {
		err := pgx.BeginTxFunc(t.Context(), pool, options, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `SELECT pg_sleep(0.2)`)
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	skip := func(rows pgx.Rows) error { rows.Close(); return rows.Err() }
	if err := database.Read(t.Context(), pool, skip, `SELECT pg_sleep(0.2)`); err != nil {
		t.Errorf("Read: %v", err)
	}
}
