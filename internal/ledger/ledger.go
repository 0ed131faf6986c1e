// Package ledger accounts for every recipient. It is the only writer of the tables deliveries,
// deferrals, batches and spool.
//
// A delivery is one attempt at one recipient. Before the final step of an attempt (the final dot of
// RFC 5321, the rename in a drop directory) its intent is committed; afterwards its result. The
// life of a batch:
//
//	OpenBatches  makes the first batches of a mailing, when its audience is frozen
//	Store        keeps the rendered messages, and the recipients that could not be rendered
//	Claim        raises the batch's fence, turns leftover intents into uncertain ones, returns who is open
//	Gate         commits results and intents, in groups over all connections of a worker, only under
//	             the fence that was claimed
//	Settle       closes the batch when each of its recipients has exactly one final delivery, or was
//	             refused for now
//	Gather       makes new batches of recipients who were refused for now, when their time has come
//	Close        reconciles the whole mailing row by row and ends it
//
// A claim shuts out everybody who claimed the batch before: they get [ErrFenced] at their next
// gate, and so can finish at most the one message in flight on each connection.
//
// The statements are in the folder sql. Each file says what its statement promises.
package ledger

import (
	"embed"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
)

var (
	// ErrFenced says that another attempt has claimed the batch, or that it is closed: nothing more
	// may be sent from it.
	ErrFenced = errors.New("the batch belongs to another attempt now")
	// ErrNoSpool says that an open batch has no rendered messages.
	ErrNoSpool = errors.New("the batch has no rendered messages")
	// ErrNoBatch says that the mailing has no such batch, or does not exist.
	ErrNoBatch = errors.New("no such batch")
	// ErrTooLarge says that a batch's rendered messages do not fit into one value of PostgreSQL.
	ErrTooLarge = errors.New("the batch's rendered messages are larger than the 1 GiB " +
		"that PostgreSQL stores in one value: use a smaller batch_size")
)

// MaxUncertain is how many attempts at a recipient may stay without an answer: then that is the
// outcome, whatever the mailing's policy. Otherwise the ledger would send for ever to a server that
// takes every message and answers none.
const MaxUncertain = 3

// MaxSpool is how many bytes of rendered messages a batch may have. PostgreSQL's own limit for a
// value and for the protocol message around it is 1 GiB; a MiB is left for the rest of the protocol
// message.
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

// Batch names a batch of a mailing (by its internal key).
type Batch struct {
	Mailing int64
	Number  int32
}

// Ledger is the accounting on one database. It is safe for concurrent use.
type Ledger struct {
	pool  *pgxpool.Pool
	chunk int64 // how many recipients one transaction of Close looks at
}

// New returns the ledger on pool.
func New(pool *pgxpool.Pool) *Ledger { return &Ledger{pool, 50_000} }

//go:embed sql/*.sql
var files embed.FS

// statement returns the statement of a file in the folder sql.
var statement = database.Statements(files)

// spanStatement is a statement about the recipients of a batch, which it calls OF_BATCH, for both
// kinds of span. Its argument "numbers" is Span.numbers.
type spanStatement struct{ ranged, listed string }

func forSpan(name string) spanStatement {
	sql := statement(name)
	return spanStatement{
		ranged: strings.ReplaceAll(sql, "OF_BATCH", "BETWEEN (@numbers::int[])[1] AND (@numbers::int[])[2]"),
		listed: strings.ReplaceAll(sql, "OF_BATCH", "= ANY(@numbers::int[])"),
	}
}

func (q spanStatement) of(s Span) string {
	if s.Members != nil {
		return q.listed
	}
	return q.ranged
}
