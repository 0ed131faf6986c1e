package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/counts"
	"directmailer/internal/database"
)

// Claim is the right to send the open recipients of a batch, until another attempt claims the
// batch.
type Claim struct {
	Batch
	Span  Span
	Fence int64
	// Settled says how the batch ended if it is closed already; the fields below are empty then.
	Settled Settled
	// Messages is the spooled blob.
	Messages []byte
	// Tried holds the recipients that have deliveries already.
	Tried map[int32]Tried
}

// Open is how many recipients of the batch are to be sent to now.
func (c *Claim) Open() int {
	n := c.Span.Len()
	for _, t := range c.Tried {
		if t.Final || t.Deferred {
			n--
		}
	}
	return n
}

// LessAsked is the beginning of the reply of an attempt that was not sent because the drop point
// asked for a lower rate or for fewer connections, or gave no connection. It says nothing of the
// recipient.
const LessAsked = "the drop point asked for less: "

// NotHandedOver is the beginning of the reply of an attempt that we ended before its final step. It
// says nothing of the recipient either.
const NotHandedOver = "not handed over: "

// CannotTake is the beginning of the reply of an attempt that was not sent because this drop point
// cannot take the message, and another one may. It says nothing of the recipient.
const CannotTake = "the drop point cannot take the message: "

// Broke is the beginning of the reply of an attempt whose connection broke although the answer has
// the code of a refusal for good.
const Broke = "the connection broke: "

// Tried is what the ledger knows of a recipient before a new attempt.
type Tried struct {
	Attempts  int32 // the highest attempt so far
	Final     bool  // the recipient has an outcome: it must not be sent to
	Deferred  bool  // it was refused for now since the batch was made: it waits for a later round
	Uncertain int   // attempts whose answer was never seen: a new one is possibly the second mail
	// Refusals counts attempts that were refused for good without being the outcome: nothing had
	// shown whether the drop point meant the recipient. Breaks counts attempts that were certainly
	// not handed over because the connection broke.
	Refusals, Breaks int
}

// Fence returns the batch's fence, or ErrNoBatch. Each claim raises it.
func (l *Ledger) Fence(ctx context.Context, b Batch) (fence int64, err error) {
	err = l.pool.QueryRow(ctx, `SELECT fence FROM batches WHERE mailing = $1 AND number = $2`, b.Mailing, b.Number).
		Scan(&fence)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNoBatch
	}
	if err != nil {
		return 0, fmt.Errorf("read the batch's fence: %w", err)
	}
	return fence, nil
}

// Claim takes the batch over. Intents that were left behind become uncertain: the outcome if hold
// is true, otherwise open for another attempt. Recipients who must not be mailed any more get the
// outcome opted out.
//
// The caller reads fence with [Ledger.Fence], then makes sure that the batch is still its own, and
// then claims. If somebody else has claimed the batch since the fence was read, Claim changes
// nothing and returns ErrFenced: a caller that was stopped meanwhile takes the batch from nobody.
// It returns ErrNoSpool if the messages are gone.
func (l *Ledger) Claim(ctx context.Context, b Batch, fence int64, hold bool) (*Claim, error) {
	c := &Claim{Batch: b, Fence: fence}
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		opened, err := c.raiseFence(ctx, tx)
		if err != nil {
			return err
		}
		if c.Settled.Closed {
			return c.Settled.readDeferred(ctx, tx, b)
		}
		return c.takeOver(ctx, tx, opened, hold)
	})
	if err != nil {
		return nil, fmt.Errorf("claim the batch: %w", err)
	}
	return c, nil
}

var raiseFence = statement("claim")

// raiseFence returns when the batch was opened, or nil in the first round. It returns ErrFenced if
// the fence is not the one that the caller has read.
func (c *Claim) raiseFence(ctx context.Context, tx pgx.Tx) (opened *time.Time, err error) {
	rows, err := tx.Query(ctx, raiseFence, pgx.NamedArgs{"mailing": c.Mailing, "batch": c.Number, "fence": c.Fence})
	if err != nil {
		return nil, err
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[struct {
		Fence       int64
		First, Last int32
		Members     []int32
		OpenedAt    *time.Time
		Closed      bool
		counts.Counts
	}])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrFenced
	}
	c.Fence, c.Span = row.Fence, Span{First: row.First, Last: row.Last, Members: row.Members}
	c.Settled.Closed, c.Settled.Counts = row.Closed, row.Counts
	return row.OpenedAt, err
}

var (
	endIntents   = forSpan("claim_intents")
	readExcluded = forSpan("claim_opted_out")
	readTried    = forSpan("claim_attempts")

	endUncertainOptedOut = statement("claim_opted_out_uncertain")
)

// takeOver runs its statements in one round trip, and in a second one if a recipient must not be
// mailed.
//
// None of them joins the deliveries with another table: the statistics may not know of the mailing
// yet, and a planner that took its deliveries for one row has compared each recipient of the batch
// with all of them.
func (c *Claim) takeOver(ctx context.Context, tx pgx.Tx, opened *time.Time, hold bool) error {
	var excluded []Exclusion
	args := pgx.NamedArgs{
		"less_asked": LessAsked, "not_handed_over": NotHandedOver, "cannot_take": CannotTake, "broke": Broke,
		"mailing": c.Mailing, "batch": c.Number, "numbers": c.Span.numbers(),
		"hold": hold, "most": MaxUncertain, "opened": opened,
	}
	var batch pgx.Batch
	batch.Queue(endIntents.of(c.Span), args)
	batch.Queue(readExcluded.of(c.Span), args).Query(func(rows pgx.Rows) (err error) {
		excluded, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Exclusion])
		return err
	})
	batch.Queue(readTried.of(c.Span), args).Query(c.collectTried)
	batch.Queue(`SELECT messages FROM spool WHERE mailing = @mailing AND batch = @batch`, args).
		QueryRow(func(row pgx.Row) error {
			err := row.Scan(&c.Messages)
			if errors.Is(err, pgx.ErrNoRows) {
				return ErrNoSpool
			}
			return err
		})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	return c.exclude(ctx, tx, excluded)
}

func (c *Claim) collectTried(rows pgx.Rows) error {
	c.Tried = map[int32]Tried{}
	var recipient int32
	var t Tried
	columns := []any{&recipient, &t.Attempts, &t.Final, &t.Uncertain, &t.Deferred, &t.Refusals, &t.Breaks}
	_, err := pgx.ForEachRow(rows, columns, func() error {
		c.Tried[recipient] = t
		return nil
	})
	return err
}

// Exclusion is a recipient who must not be mailed, and why.
type Exclusion struct {
	Recipient int32
	Why       string
}

// LeaveOut gives recipients of the batch who opted out after it was claimed their outcome, as a
// claim would. None of them may be in flight. It returns ErrFenced if the claim does not hold any
// more: the next one leaves them out.
func (l *Ledger) LeaveOut(ctx context.Context, claim *Claim, excluded []Exclusion) error {
	if len(excluded) == 0 {
		return nil
	}
	now := Claim{Batch: claim.Batch}
	for _, x := range excluded {
		now.Span.Members = append(now.Span.Members, x.Recipient)
	}
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{
			"less_asked": LessAsked, "not_handed_over": NotHandedOver, "cannot_take": CannotTake, "broke": Broke,
			"opened": (*time.Time)(nil), "numbers": now.Span.numbers(),
			"mailing": claim.Mailing, "batch": claim.Number, "fence": claim.Fence,
		}
		tag, err := tx.Exec(ctx, `
			SELECT FROM batches WHERE mailing = @mailing AND number = @batch AND fence = @fence AND closed_at IS NULL
			FOR SHARE`, args)
		switch {
		case err != nil:
			return err
		case tag.RowsAffected() == 0:
			return ErrFenced
		}
		rows, err := tx.Query(ctx, readTried.of(now.Span), args)
		if err == nil {
			err = now.collectTried(rows)
		}
		if err != nil {
			return err
		}
		return now.exclude(ctx, tx, excluded)
	})
	if err != nil {
		return fmt.Errorf("leave out recipients who have opted out: %w", err)
	}
	return nil
}

// exclude gives recipients who must not be mailed, and have no outcome, the outcome opted out: they
// are not sent to again. A recipient who may have got the mail before becomes uncertain instead.
func (c *Claim) exclude(ctx context.Context, tx pgx.Tx, excluded []Exclusion) error {
	var untouched, maybe []int32
	var reasons []string
	for _, x := range excluded {
		t := c.Tried[x.Recipient]
		switch {
		case t.Final:
			continue
		case t.Uncertain > 0:
			maybe = append(maybe, x.Recipient)
		default:
			untouched, reasons = append(untouched, x.Recipient), append(reasons, x.Why)
		}
		t.Final = true
		c.Tried[x.Recipient] = t
	}
	var batch pgx.Batch
	if len(maybe) > 0 {
		batch.Queue(endUncertainOptedOut, pgx.NamedArgs{"mailing": c.Mailing, "recipients": maybe})
	}
	if len(untouched) > 0 {
		batch.Queue(`
			INSERT INTO deliveries (mailing, recipient, attempt, status, final, reply)
			SELECT $1, number, 0, 'opted_out', true, why FROM unnest($2::int[], $3::text[]) AS x(number, why)
			ON CONFLICT DO NOTHING`, c.Mailing, untouched, reasons)
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, &batch).Close()
}
