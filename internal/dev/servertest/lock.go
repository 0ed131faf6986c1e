package servertest

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// WaitsForLock reports whether a session of the pool's database waits for a lock.
func WaitsForLock(t testing.TB, pool *pgxpool.Pool) (waits bool) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE NOT granted AND datname = current_database())`).Scan(&waits)
	if err != nil {
		t.Fatal(err)
	}
	return waits
}
