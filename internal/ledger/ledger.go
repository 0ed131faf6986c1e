// Package ledger accounts for every recipient: it is the only writer of the tables deliveries, deferrals, batches and spool.
//
// A delivery is one attempt at one recipient. Before the final step of an attempt (the final dot of RFC 5321, the rename in a drop
// directory) its intent is committed; afterwards its result. The life of a batch:
//
//	Store   the rendered messages, and those recipients that could not be rendered
//	Claim   raises the batch's fence, turns leftover intents into uncertain ones, tells who is open
//	Gate    commits results and intents, in groups over all connections of a worker, only under the fence that was claimed
//	Settle  closes the batch when each of its recipients has exactly one final delivery, or was refused for now
//	Gather  makes new batches of those who were refused for now, when their time has come
//	Close   reconciles the whole mailing row by row and ends it
//
// Whoever claims a batch shuts out everybody who claimed it before: they get [ErrFenced] at their next gate, and so can finish at
// most the one message in flight on each connection.
package ledger

import (
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrFenced says that somebody else has claimed the batch, or that it is closed: nothing more may be sent from it.
	ErrFenced = errors.New("the batch belongs to another attempt now")
	// ErrNoSpool says that an open batch has no rendered messages.
	ErrNoSpool = errors.New("the batch has no rendered messages")
	// ErrNoBatch says that the mailing has no such batch, or has been deleted.
	ErrNoBatch = errors.New("no such batch")
	// ErrTooLarge says that a batch's rendered messages do not fit into one value of PostgreSQL.
	ErrTooLarge = errors.New("the batch's rendered messages are larger than the 1 GiB that PostgreSQL stores in one value: use a smaller batch_size")
)

// MaxUncertain is how many attempts at a recipient may stay without an answer: then that is the outcome, whatever the mailing's policy.
// A server that takes every message and answers none would else be sent to for ever.
const MaxUncertain = 3

// MaxSpool is how many bytes of rendered messages a batch may have. PostgreSQL's own limit for a value and for
// the protocol message around it is 1 GiB; a MiB is left for what else is in the message.
const MaxSpool = 1<<30 - 1<<20

// Status is where an attempt stands, in the words of the database's type delivery_status.
type Status string

// The statuses.
const (
	Intent    Status = "intent"
	Sent      Status = "sent"
	Bounced   Status = "bounced"
	Failed    Status = "failed"
	Deferred  Status = "deferred"
	Refused   Status = "refused"
	NotSent   Status = "not_sent"
	Uncertain Status = "uncertain"
	OptedOut  Status = "opted_out"
	Unsent    Status = "unsent"
)

// Counts are recipients by outcome.
type Counts struct {
	Sent, Bounced, Failed, OptedOut, Uncertain, Unsent int64
	// PossiblyTwice counts recipients, among those above, who were sent to again after an uncertain attempt.
	PossiblyTwice int64
}

// Batch names a batch of a mailing (by its internal key).
type Batch struct {
	Mailing int64
	Number  int32
}

// Ledger is the accounting on one database. It is safe for use by several goroutines.
type Ledger struct {
	pool  *pgxpool.Pool
	chunk int64 // how many recipients one transaction of Close looks at
}

// New returns the ledger on pool.
func New(pool *pgxpool.Pool) *Ledger { return &Ledger{pool, 50_000} }
