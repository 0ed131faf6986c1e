package servertest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// WaitsForAnother is a condition on pg_stat_activity: the session is one of this database, and
// waits for a lock that another client has. A wait for autovacuum does not count: it lasts a
// moment, and no test has made it.
const WaitsForAnother = `datname = current_database()
	AND CASE WHEN wait_event_type = 'Lock' THEN EXISTS (
		SELECT FROM unnest(pg_blocking_pids(pg_stat_activity.pid)) AS b(pid)
		JOIN pg_stat_activity other ON other.pid = b.pid AND other.backend_type = 'client backend') END`

// WaitsForLock reports whether a session of the pool's database waits for a lock that another
// client has.
func WaitsForLock(t testing.TB, pool *pgxpool.Pool) (waits bool) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE `+WaitsForAnother+`)`).
		Scan(&waits)
	if err != nil {
		t.Fatal(err)
	}
	return waits
}
