package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// commitTimeout is how long the gate tries again when the database is away. Connections wait for it
// with an open message, so it must be far shorter than a server's own timeout; a restart of
// PostgreSQL fits in.
const commitTimeout = 5 * time.Second

// writeInTime writes the group, and returns those of its claims that could not be looked at because
// another transaction has locked their batches. A commit whose answer was lost is repeated: the
// statement changes nothing that it has written before.
func (g *Gate) writeInTime(group []*Ticket) (locked map[claimKey]bool, err error) {
	deadline := time.Now().Add(commitTimeout)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err = g.write(ctx, group)
		if err == nil || ctx.Err() != nil || !database.Unavailable(err) || time.Now().Add(pause).After(deadline) {
			break
		}
		time.Sleep(pause)
	}
	if err != nil {
		clear(g.args.held)
	} else if len(g.args.held) < len(g.args.asked) {
		locked, err = g.locked(ctx)
	}
	if err != nil {
		err = fmt.Errorf("write the ledger: %w", err)
	}
	return locked, err
}

// answer returns what Wait answers to each member of the group, and the number of committed
// intents.
func (g *Gate) answer(group []*Ticket, locked map[claimKey]bool, err error) (answers []error, committed int) {
	answers = g.args.answers[:0]
	for _, t := range group {
		key := claimKey{t.claim.Batch, t.claim.Fence}
		answer := err
		switch {
		case g.args.held[key]:
			answer = nil
			if t.intent != nil {
				committed++
			}
		case err != nil:
		case !locked[key]:
			answer = ErrFenced
		case t.since.IsZero():
			t.since = time.Now()
			fallthrough
		case time.Since(t.since) < commitTimeout:
			answer = errLater
		default:
			answer = fmt.Errorf(
				"write the ledger: another transaction has locked the batch: %w",
				context.DeadlineExceeded,
			)
		}
		answers = append(answers, answer)
	}
	g.args.answers = answers
	return answers, committed
}

// lockPause is the pause before the next try where another transaction has locked the batch, and
// errLater says so.
const lockPause = 50 * time.Millisecond

var errLater = errors.New("the batch is locked")

// claimKey is a claim as the statements name it.
type claimKey struct {
	Batch
	fence int64
}

var (
	commitGroup          = statement("gate")
	commitSecondOutcomes = statement("gate_second_outcomes")
	readLocked           = statement("gate_locked")
)

// locked tells which of the claims that were asked for, and that do not hold, may hold yet.
func (g *Gate) locked(ctx context.Context) (map[claimKey]bool, error) {
	claims := &g.args.claims
	rows, err := g.pool.Query(ctx, readLocked, claims.mailing, claims.number, claims.fence)
	if err != nil {
		return nil, err
	}
	return collect(rows, map[claimKey]bool{})
}

// write commits the group. A result that would be the second outcome of its recipient is written
// down without being one: the other connections of the worker go on, and the batch can be closed.
func (g *Gate) write(ctx context.Context, group []*Ticket) error {
	args := g.args.fill(group)
	if err := g.writeKeptFirst(ctx); err != nil {
		return err
	}
	err := g.run(ctx, commitGroup, args)
	if database.Duplicate(err) {
		err = g.run(ctx, commitSecondOutcomes, args)
	}
	return err
}

// run executes the statement in a transaction of its own, in one round trip.
func (g *Gate) run(ctx context.Context, sql string, args []any) error {
	clear(g.args.held)
	var batch pgx.Batch
	batch.Queue(database.BeginReadCommitted)
	batch.Queue(database.TransactionSettings)
	batch.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		_, err := collect(rows, g.args.held)
		return err
	})
	batch.Queue(`COMMIT`)
	return g.pool.SendBatch(ctx, &batch).Close()
}

// collect adds the rows' claims to found.
func collect(rows pgx.Rows, found map[claimKey]bool) (map[claimKey]bool, error) {
	defer rows.Close()
	for rows.Next() {
		var key claimKey
		if err := rows.Scan(&key.Mailing, &key.Number, &key.fence); err != nil {
			return nil, err
		}
		found[key] = true
	}
	return found, rows.Err()
}
