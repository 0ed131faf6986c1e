package database_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
	"directmailer/internal/dev/servertest"
)

// After a failover, or a mended setting, sessions of before still refuse to write.
func TestSessionsThatAcceptNoWritesAreThrownAway(t *testing.T) {
	t.Parallel()
	url := empty(t)
	writing := withParameters(url, "default_transaction_read_only=off")
	alter(t, writing, "default_transaction_read_only = on")
	pool := open(t, url)
	var held []*pgxpool.Conn
	for range 3 {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		conn.Release()
	}
	alter(t, writing, "default_transaction_read_only = off")
	for try := 1; ; try++ {
		_, err := pool.Exec(t.Context(), `CREATE TABLE written (x int)`)
		if err == nil {
			return
		}
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "25006" || !database.Unavailable(err) || try > len(held) {
			t.Fatalf("try %d: %v", try, err)
		}
	}
}

// Each host that cannot be used is left out, and the error says what is missing.
func TestOfSeveralHostsTheOneThatAcceptsWritesIsUsed(t *testing.T) {
	t.Parallel()
	primary := servertest.OwnPostgres(t)
	standby := servertest.Standby(t, primary, 0)
	for _, both := range []string{primary.WithStandby(standby, "mail"), standby.WithStandby(primary, "mail")} {
		for _, at := range []string{both, strings.Replace(both, "&target_session_attrs=read-write", "", 1)} {
			pool := open(t, at)
			if _, err := pool.Exec(t.Context(), `CREATE TABLE IF NOT EXISTS written (x int)`); err != nil {
				t.Error(err)
			}
		}
	}
	both := primary.WithStandby(standby, "mail")
	pool := open(t, both)
	primary.Kill()
	if _, err := database.Open(t.Context(), both, 1); err == nil || !database.Unavailable(err) ||
		!strings.Contains(err.Error(), "promote a standby") || !strings.Contains(database.Reason(err), "promote") {
		t.Errorf("before the promotion: %v", err)
	}
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	for { // the sessions of the old primary are found out one by one
		_, err := pool.Exec(t.Context(), `CREATE TABLE after_failover (x int)`)
		if err == nil {
			break
		}
		checkError(t, err, true)
	}
}

// Both hosts refuse, each for another reason.
func TestAHostThatRefusesIsWordedLikeAnyOther(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(refused(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Host += "," + u.Host
	_, err = database.Open(t.Context(), u.String(), 1)
	checkError(t, err, true)
}
