package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Inspection is what the server, the database and the role are set to. The defaults are those of a
// session without the settings of this program.
type Inspection struct {
	Isolation, SynchronousCommit, Fsync, FullPageWrites string
	StatementTimeout                                    string // "0" without one, or with a unit
	// StandbyNames is the setting synchronous_standby_names. Standbys are the standbys that follow.
	// Synchronous are those of them that commits wait for; nil if the role may not see it.
	StandbyNames string
	Standbys     int
	Synchronous  *int
	// MaxConnections are those of the server, Reserved those of them that only administrators get.
	// Open are the connections that others have now.
	MaxConnections, Reserved, Open int
	// RoleLimit and DatabaseLimit are limits of connections, or -1.
	RoleLimit, DatabaseLimit int
	InRecovery               bool // the server is a standby
	Pooler                   bool // the connections lead to a pooler
}

// Inspect reads the settings.
func Inspect(ctx context.Context, pool *pgxpool.Pool) (i Inspection, err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return i, fmt.Errorf("read the settings of PostgreSQL: %w", redact(err))
	}
	defer conn.Release()
	var pid uint32
	rows, err := conn.Query(ctx, `
		SELECT current_setting('default_transaction_isolation') AS isolation,
			current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
			current_setting('full_page_writes') AS full_page_writes,
			(SELECT reset_val || CASE WHEN reset_val = '0' THEN '' ELSE coalesce(unit, '') END
				FROM pg_settings WHERE name = 'statement_timeout') AS statement_timeout,
			current_setting('synchronous_standby_names') AS standby_names,
			(SELECT count(*) FROM pg_stat_replication) AS standbys,
			(SELECT CASE WHEN count(*) = count(sync_state) THEN count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) END
				FROM pg_stat_replication) AS synchronous,
			current_setting('max_connections')::int AS max_connections,
			current_setting('superuser_reserved_connections')::int
				+ coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) AS reserved,
			(SELECT count(*) FROM pg_stat_activity
				WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS open,
			(SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,
			(SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,
			pg_is_in_recovery() AS in_recovery`)
	if err == nil {
		i, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[Inspection])
	}
	if err == nil {
		err = conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid)
	}
	if err != nil {
		return i, fmt.Errorf("read the settings of PostgreSQL: %w", redact(err))
	}
	i.Pooler = pid != conn.Conn().PgConn().PID()
	return i, nil
}

// Available is how many connections the role may have in all, as far as the server's own limits
// say.
func (i Inspection) Available() int {
	n := i.MaxConnections - i.Reserved
	for _, limit := range []int{i.RoleLimit, i.DatabaseLimit} {
		if limit >= 0 {
			n = min(n, limit)
		}
	}
	return n
}
