package database

import "github.com/jackc/pgx/v5"

// RaiseDurability is a statement that has its transaction wait for the disk at its commit, whatever
// the server's, the database's or the role's default says. Without the wait, a crash of PostgreSQL
// loses commits whose success was reported. A default that waits for more, such as remote_apply,
// stays.
//
// It is a statement of the transaction and not a startup parameter of the session: a transaction
// pooler refuses or drops startup parameters, and gives each transaction to another session.
const RaiseDurability = `SELECT set_config('synchronous_commit', 'on', true) ` +
	`WHERE current_setting('synchronous_commit') IN ('off', 'local')`

// BeginReadCommitted begins a transaction whose statements see what others have committed
// meanwhile.
const BeginReadCommitted = `BEGIN ISOLATION LEVEL READ COMMITTED`

var (
	// ReadCommitted begins a transaction that writes: what it commits survives a crash, and each of
	// its statements sees what others have committed before the statement began. One round trip
	// begins it.
	ReadCommitted = pgx.TxOptions{BeginQuery: BeginReadCommitted + `; ` + RaiseDurability}
	// Snapshot begins a transaction that writes, as durable as ReadCommitted, whose statements all
	// see the same state. A concurrent change of a row that it writes fails it with a serialization
	// failure.
	Snapshot = pgx.TxOptions{BeginQuery: `BEGIN ISOLATION LEVEL REPEATABLE READ; ` + RaiseDurability}
)
