package database

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TransactionSettings is a statement that makes its transaction independent of the defaults of the
// server, the database and the role:
//
//   - Its commit waits for the disk. Without the wait, a crash of PostgreSQL loses commits whose
//     success was reported. A default that waits for more, such as remote_apply, stays.
//   - No time-out ends its statements: a large list takes as long as it takes. A time-out would
//     also end a commit's wait for a synchronous standby, and PostgreSQL then reports success.
//   - It ends when its client is gone.
//
// It is a statement of the transaction and not of the session: a transaction pooler refuses startup
// parameters, and gives each transaction to another session.
const TransactionSettings = `SELECT set_config('statement_timeout', '0', true), ` +
	`set_config('lock_timeout', '0', true), ` +
	`set_config('idle_in_transaction_session_timeout', '60000', true), ` +
	`CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') ` +
	`THEN set_config('synchronous_commit', 'on', true) END`

// BeginReadCommitted begins a transaction whose statements see what others have committed
// meanwhile.
const BeginReadCommitted = `BEGIN ISOLATION LEVEL READ COMMITTED`

var (
	// ReadCommitted begins a transaction that writes: what it commits survives a crash, and each of
	// its statements sees what others have committed before the statement began. One round trip
	// begins it.
	ReadCommitted = pgx.TxOptions{BeginQuery: BeginReadCommitted + `; ` + TransactionSettings}
	// Snapshot begins a transaction that writes, as durable as ReadCommitted, whose statements all
	// see the same state. A concurrent change of a row that it writes fails it with a serialization
	// failure.
	Snapshot = pgx.TxOptions{BeginQuery: `BEGIN ISOLATION LEVEL REPEATABLE READ; ` + TransactionSettings}
	// Holding begins a ReadCommitted transaction that holds a lock while its client does something
	// else, for as long as that takes.
	Holding = pgx.TxOptions{BeginQuery: ReadCommitted.BeginQuery + `; ` +
		`SELECT set_config('idle_in_transaction_session_timeout', '0', true)`}
	// ReadOnly begins a transaction that only reads, and whose statements all see the same state.
	ReadOnly = pgx.TxOptions{BeginQuery: `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ` + TransactionSettings}
)

// withoutTimeouts begins a ReadOnly transaction in which the server waits for its client without a
// limit. A client that reads nothing for half a minute, while the server has more to send, would be
// taken for one that is gone (tcp_user_timeout). One that reads the last rows slowly would have an
// idle transaction. The transaction keeps nobody waiting. But while it lasts, vacuum keeps the rows
// that it can see, in the whole database. So a command whose reader may be slow lets a file wait
// for the reader (output.Ahead).
var withoutTimeouts = pgx.TxOptions{BeginQuery: ReadOnly.BeginQuery + `; ` +
	`SELECT set_config(name, '0', true) FROM pg_settings ` +
	`WHERE name IN ('idle_in_transaction_session_timeout', 'tcp_user_timeout')`}

// Read calls do with the rows of a query that may take long. do may take long as well: its rows may
// go to a pager. A statement by itself would be ended by the statement_timeout of a role whose
// sessions come from a pooler.
func Read(ctx context.Context, pool *pgxpool.Pool, do func(pgx.Rows) error, sql string, args ...any) error {
	return pgx.BeginTxFunc(ctx, pool, withoutTimeouts, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		if err := do(rows); err != nil {
			return err
		}
		rows.Close()
		return rows.Err()
	})
}
