package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Schedule is when recipients that are refused for now are tried again.
type Schedule struct {
	// First is the pause before the second round; each further one is twice as long, up to Most.
	First, Most time.Duration
	// For is how long after the first refusal a recipient is given up.
	For time.Duration
	// Told reads from a server's words when to come again.
	Told func(reply string) (time.Duration, bool)
}

// longest is the longest pause that a server is believed.
const longest = 24 * time.Hour

// pause is how long a recipient waits after so many refusals, the first of which is so long ago.
func (s Schedule) pause(refusals int, ago time.Duration, reply string) time.Duration {
	pause := s.First << min(refusals-1, 40)
	if pause <= 0 || pause > s.Most {
		pause = s.Most
	}
	if told, ok := s.Told(reply); ok && told > 0 {
		pause = min(told, longest)
	}
	return max(min(pause, s.For-ago), 0)
}

// Settled says how a batch stands after an attempt.
type Settled struct {
	// Closed: each recipient has an outcome, which Counts holds, or waits for a later round.
	Closed bool
	Counts Counts
	Open   int // recipients that are still to be sent to, now
	// Deferred recipients have left the batch; the first of them is due at NextRound.
	Deferred  int
	NextRound time.Time
}

func (s *Settled) readDeferred(ctx context.Context, tx pgx.Tx, b Batch) error {
	var due *time.Time
	err := tx.QueryRow(ctx, `SELECT count(*), min(due) FROM deferrals WHERE mailing = $1 AND batch = $2`, b.Mailing, b.Number).Scan(&s.Deferred, &due)
	if due != nil {
		s.NextRound = *due
	}
	return err
}

// Settle closes the batch if each of its recipients has exactly one final delivery or was refused for now. The latter leave it for a later
// round, or become failed when their time is over; keep is given their numbers, in order, and returns the spool's blob with no more than
// their messages, or nil if it cannot make one:
// they are rendered again then. ErrFenced.
func (l *Ledger) Settle(ctx context.Context, c *Claim, plan Schedule, keep func(recipients []int32) ([]byte, error)) (Settled, error) {
	var s Settled
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		s = Settled{}
		var held bool
		err := tx.QueryRow(ctx, `
			SELECT true FROM batches WHERE mailing = $1 AND number = $2 AND fence = $3 AND closed_at IS NULL FOR UPDATE`,
			c.Mailing, c.Number, c.Fence).Scan(&held)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrFenced
		}
		if err != nil {
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
		if r.broken > 0 {
			if away, err = c.postpone(ctx, tx, plan); err != nil {
				return err
			}
			if r, err = reconcile(ctx, tx, c.Mailing, c.Span); err != nil {
				return err
			}
		}
		s = Settled{Closed: r.broken == len(away), Counts: r.counts, Open: r.broken - len(away)}
		if !s.Closed {
			s.Counts = Counts{}
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

// errStillOpen takes back what a batch that cannot be closed has postponed: it is postponed when the batch is closed.
var errStillOpen = errors.New("the batch is still open")

// latestRefused are recipients without an outcome whose latest attempt was refused for now.
var latestRefused = ofBatch(`
	SELECT d.recipient, d.attempt, coalesce(d.reply, ''), each.refusals, extract(epoch FROM now() - each.since)::float8
	FROM (SELECT recipient, max(attempt) AS attempt, bool_or(final) AS done,
			count(*) FILTER (WHERE status IN ('deferred', 'refused')) AS refusals, min(answered_at) FILTER (WHERE status IN ('deferred', 'refused')) AS since
	      FROM deliveries WHERE mailing = $1 AND recipient OF_BATCH GROUP BY recipient) each
	JOIN deliveries d ON d.mailing = $1 AND d.recipient = each.recipient AND d.attempt = each.attempt AND d.recipient OF_BATCH
	WHERE NOT each.done AND d.status IN ('deferred', 'refused') ORDER BY d.recipient`)

// postpone gives every recipient that was refused for now its next round, or gives it up. It returns those who wait, in order.
func (c *Claim) postpone(ctx context.Context, tx pgx.Tx, plan Schedule) ([]int32, error) {
	rows, err := tx.Query(ctx, latestRefused.of(c.Span), c.Mailing, c.Span.numbers())
	if err != nil {
		return nil, err
	}
	var away, over, overAttempt []int32
	var pauses []float64
	var recipient, attempt int32
	var reply string
	var refusals int
	var ago float64
	_, err = pgx.ForEachRow(rows, []any{&recipient, &attempt, &reply, &refusals, &ago}, func() error {
		since := time.Duration(ago * float64(time.Second))
		if since >= plan.For {
			over, overAttempt = append(over, recipient), append(overAttempt, attempt)
			return nil
		}
		away, pauses = append(away, recipient), append(pauses, plan.pause(refusals, since, reply).Seconds())
		return nil
	})
	if err != nil {
		return nil, err
	}
	var batch pgx.Batch
	if len(over) > 0 { // code and text of the last refusal stay
		batch.Queue(`
			UPDATE deliveries d SET status = 'failed', final = true FROM unnest($2::int[], $3::int[]) AS x(recipient, attempt)
			WHERE d.mailing = $1 AND d.recipient = ANY($2) AND d.recipient = x.recipient AND d.attempt = x.attempt`, c.Mailing, over, overAttempt)
	}
	if len(away) > 0 {
		batch.Queue(`
			INSERT INTO deferrals (mailing, recipient, batch, due)
			SELECT $1, x.recipient, $2, now() + x.pause * interval '1 second' FROM unnest($3::int[], $4::float8[]) AS x(recipient, pause)`,
			c.Mailing, c.Number, away, pauses)
	}
	return away, tx.SendBatch(ctx, &batch).Close()
}

func (c *Claim) close(ctx context.Context, tx pgx.Tx, n Counts, away []int32, keep func([]int32) ([]byte, error)) error {
	var messages []byte
	if len(away) > 0 {
		var err error
		if messages, err = keep(away); err != nil {
			return err
		}
	}
	var batch pgx.Batch
	batch.Queue(`
		UPDATE batches SET closed_at = now(), sent = $3, bounced = $4, failed = $5, opted_out = $6, uncertain = $7, unsent = $8, possibly_twice = $9
		WHERE mailing = $1 AND number = $2`, c.Mailing, c.Number, n.Sent, n.Bounced, n.Failed, n.OptedOut, n.Uncertain, n.Unsent, n.PossiblyTwice)
	if messages != nil {
		batch.Queue(`UPDATE spool SET messages = $3 WHERE mailing = $1 AND batch = $2`, c.Mailing, c.Number, messages)
	} else {
		batch.Queue(`DELETE FROM spool WHERE mailing = $1 AND batch = $2`, c.Mailing, c.Number)
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// joinByHash keeps the planner from nested loops for the rest of the transaction. The tables grow by millions of rows faster than
// statistics are gathered; taking them for empty, it would compare every recipient with every delivery.
// A plan that has to use a nested loop all the same is given an enormous cost, for which PostgreSQL would
// compile it: that takes longer than the statement.
func joinByHash(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SET LOCAL enable_nestloop = off; SET LOCAL jit = off`)
	return err
}

type reconciliation struct {
	counts Counts
	broken int // recipients that have not exactly one final delivery
	first  int32
}

var reconcileAll = ofBatch(`
	SELECT count(*) FILTER (WHERE finals <> 1), coalesce(min(number) FILTER (WHERE finals <> 1), 0),
		count(*) FILTER (WHERE outcome = 'sent'), count(*) FILTER (WHERE outcome = 'bounced'), count(*) FILTER (WHERE outcome = 'failed'),
		count(*) FILTER (WHERE outcome = 'opted_out'), count(*) FILTER (WHERE outcome = 'uncertain'), count(*) FILTER (WHERE outcome = 'unsent'),
		count(*) FILTER (WHERE twice AND finals > 0)
	FROM (
		SELECT r.number, count(d.recipient) FILTER (WHERE d.final) AS finals, max(d.status) FILTER (WHERE d.final) AS outcome,
			bool_or(d.possibly_twice AND d.status NOT IN ('intent', 'not_sent', 'deferred', 'refused')) AS twice
		FROM recipients r LEFT JOIN deliveries d ON d.mailing = r.mailing AND d.recipient = r.number
			AND d.mailing = $1 AND d.recipient OF_BATCH
		WHERE r.mailing = $1 AND r.number OF_BATCH
		GROUP BY r.number) each`)

// reconcile looks at every recipient of the span, and trusts no counter.
func reconcile(ctx context.Context, tx pgx.Tx, mailing int64, s Span) (r reconciliation, err error) {
	err = tx.QueryRow(ctx, reconcileAll.of(s), mailing, s.numbers()).
		Scan(&r.broken, &r.first, &r.counts.Sent, &r.counts.Bounced, &r.counts.Failed, &r.counts.OptedOut, &r.counts.Uncertain,
			&r.counts.Unsent, &r.counts.PossiblyTwice)
	if err != nil {
		return r, fmt.Errorf("reconcile recipients %d to %d: %w", s.First, s.Last, err)
	}
	return r, nil
}
