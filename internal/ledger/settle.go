package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/counts"
	"directmailer/internal/database"
)

// Schedule is when recipients that are refused for now are tried again.
type Schedule struct {
	// First is the pause before the second round. Each further one is twice as long, up to Most.
	First, Most time.Duration
	// For is how long after the first refusal a recipient is given up.
	For time.Duration
	// Soon holds recipients for whom the first pause is SoonPause, if that is shorter: nothing has
	// shown yet whether their drop point accepts others.
	Soon      []int32
	SoonPause time.Duration
	// RetryAfter reads from a server's reply when to come again.
	RetryAfter func(reply string) (time.Duration, bool)
}

// maxRetryAfter is the longest pause that a server is believed.
const maxRetryAfter = 24 * time.Hour

// pause is how long a recipient waits after so many refusals, the first of which is so long ago.
func (s Schedule) pause(refusals int, ago time.Duration, reply string) time.Duration {
	pause := s.First << min(refusals-1, 40)
	if pause <= 0 || pause > s.Most {
		pause = s.Most
	}
	if asked, ok := s.RetryAfter(reply); ok && asked > 0 {
		pause = min(asked, maxRetryAfter)
	}
	return max(min(pause, s.For-ago), 0)
}

// Settled says what a batch is like after an attempt.
type Settled struct {
	// Closed says that each recipient has an outcome, which Counts holds, or waits for a later
	// round.
	Closed bool
	Counts counts.Counts
	Open   int // recipients that are still to be sent to, now
	// Deferred recipients have left the batch; the first of them is due at NextRound.
	Deferred  int
	NextRound time.Time
}

func (s *Settled) readDeferred(ctx context.Context, tx pgx.Tx, b Batch) error {
	var due *time.Time
	err := tx.QueryRow(ctx, `
		SELECT count(*), min(due) FROM deferrals WHERE mailing = $1 AND batch = $2`, b.Mailing, b.Number).
		Scan(&s.Deferred, &due)
	if due != nil {
		s.NextRound = *due
	}
	return err
}

// Settle closes the batch if each of its recipients has exactly one final delivery or was refused
// for now. The latter leave it for a later round, or become failed when their time is over. keep is
// given the numbers of those who wait, in order, and returns the spool's blob with no more than
// their messages, or nil if it cannot make one: they are rendered again then. Settle returns
// ErrFenced if the claim does not hold any more.
func (l *Ledger) Settle(
	ctx context.Context, c *Claim, plan Schedule, keep func(recipients []int32) ([]byte, error),
) (Settled, error) {
	var s Settled
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		s = Settled{}
		if err := c.lock(ctx, tx); err != nil {
			return err
		}
		if err := joinByHash(ctx, tx); err != nil {
			return err
		}
		r, err := reconcile(ctx, tx, c.Mailing, c.Span)
		if err != nil {
			return err
		}
		var away []int32
		if r.Unaccounted > 0 {
			if away, err = c.deferRefused(ctx, tx, plan); err != nil {
				return err
			}
			if r, err = reconcile(ctx, tx, c.Mailing, c.Span); err != nil {
				return err
			}
		}
		s = Settled{Closed: r.Unaccounted == len(away), Counts: r.Counts, Open: r.Unaccounted - len(away)}
		if !s.Closed {
			s.Counts = counts.Counts{}
			return errStillOpen
		}
		if err := c.close(ctx, tx, s.Counts, away, keep); err != nil {
			return err
		}
		return s.readDeferred(ctx, tx, c.Batch)
	})
	if err != nil && !errors.Is(err, errStillOpen) {
		return Settled{}, fmt.Errorf("settle the batch: %w", err)
	}
	return s, nil
}

// errStillOpen rolls back the deferrals of a batch that cannot be closed. They are made when the
// batch is closed.
var errStillOpen = errors.New("the batch is still open")

// lock locks the batch until the transaction ends, or returns ErrFenced.
func (c *Claim) lock(ctx context.Context, tx pgx.Tx) error {
	var held bool
	err := tx.QueryRow(ctx, `
		SELECT true FROM batches
		WHERE mailing = $1 AND number = $2 AND fence = $3 AND closed_at IS NULL FOR UPDATE`,
		c.Mailing, c.Number, c.Fence).Scan(&held)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrFenced
	}
	return err
}

var (
	readRefused  = forSpan("settle_refused")
	failGivenUp  = statement("settle_given_up")
	insertWaits  = statement("settle_deferred")
	closeBatch   = statement("settle_close")
	reconcileAll = forSpan("reconcile")
)

// deferRefused gives every recipient that was refused for now its next round, or gives it up. It
// returns those who wait, in order.
func (c *Claim) deferRefused(ctx context.Context, tx pgx.Tx, plan Schedule) ([]int32, error) {
	rows, err := tx.Query(ctx, readRefused.of(c.Span), pgx.NamedArgs{"mailing": c.Mailing, "numbers": c.Span.numbers()})
	if err != nil {
		return nil, err
	}
	refused, err := pgx.CollectRows(rows, pgx.RowToStructByName[struct {
		Recipient, Attempt int32
		Reply              string
		Refusals           int
		Seconds            float64
	}])
	if err != nil {
		return nil, err
	}
	var away, over, overAttempts []int32
	var pauses []float64
	for _, r := range refused {
		since := time.Duration(r.Seconds * float64(time.Second))
		if since >= plan.For {
			over, overAttempts = append(over, r.Recipient), append(overAttempts, r.Attempt)
			continue
		}
		pause := plan.pause(r.Refusals, since, r.Reply)
		if slices.Contains(plan.Soon, r.Recipient) {
			pause = min(pause, plan.SoonPause)
		}
		away, pauses = append(away, r.Recipient), append(pauses, pause.Seconds())
	}
	var batch pgx.Batch
	if len(over) > 0 {
		batch.Queue(failGivenUp, pgx.NamedArgs{"mailing": c.Mailing, "recipients": over, "attempts": overAttempts})
	}
	if len(away) > 0 {
		batch.Queue(insertWaits, pgx.NamedArgs{
			"mailing": c.Mailing, "batch": c.Number, "recipients": away, "pauses": pauses})
	}
	return away, tx.SendBatch(ctx, &batch).Close()
}

func (c *Claim) close(
	ctx context.Context, tx pgx.Tx, n counts.Counts, away []int32, keep func([]int32) ([]byte, error),
) error {
	var messages []byte
	if len(away) > 0 {
		var err error
		if messages, err = keep(away); err != nil {
			return err
		}
	}
	var batch pgx.Batch
	batch.Queue(closeBatch, pgx.NamedArgs{
		"mailing": c.Mailing, "batch": c.Number, "sent": n.Sent, "bounced": n.Bounced, "failed": n.Failed,
		"opted_out": n.OptedOut, "uncertain": n.Uncertain, "unsent": n.Unsent, "possibly_twice": n.PossiblyTwice,
	})
	if messages != nil {
		batch.Queue(`UPDATE spool SET messages = $3 WHERE mailing = $1 AND batch = $2`, c.Mailing, c.Number, messages)
	} else {
		batch.Queue(`DELETE FROM spool WHERE mailing = $1 AND batch = $2`, c.Mailing, c.Number)
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// reconciliation is what the rows of a span of recipients say.
type reconciliation struct {
	Unaccounted      int   // recipients that have not exactly one final delivery
	FirstUnaccounted int32 // the first of them
	counts.Counts
}

// reconcile looks at every recipient of the span, and trusts no counter.
func reconcile(ctx context.Context, tx pgx.Tx, mailing int64, s Span) (r reconciliation, err error) {
	rows, err := tx.Query(ctx, reconcileAll.of(s), pgx.NamedArgs{"mailing": mailing, "numbers": s.numbers()})
	if err == nil {
		r, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[reconciliation])
	}
	if err != nil {
		return r, fmt.Errorf("reconcile recipients %d to %d: %w", s.First, s.Last, err)
	}
	return r, nil
}
