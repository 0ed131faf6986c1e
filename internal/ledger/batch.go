package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Span is the recipients of a batch, by their numbers in the mailing: all from First to Last, or, if there are any, the Members.
type Span struct {
	First, Last int32
	Members     []int32
}

// Len is the number of recipients.
func (s Span) Len() int {
	if s.Members != nil {
		return len(s.Members)
	}
	return int(s.Last-s.First) + 1
}

// numbers is the one argument by which statements are given a span.
func (s Span) numbers() []int32 {
	if s.Members != nil {
		return s.Members
	}
	return []int32{s.First, s.Last}
}

// statement is a query about the recipients of a batch, which it calls OF_BATCH and is given as $2, for both kinds of span.
type statement struct{ ranged, listed string }

func ofBatch(query string) statement {
	return statement{
		ranged: strings.ReplaceAll(query, "OF_BATCH", "BETWEEN ($2::int[])[1] AND ($2::int[])[2]"),
		listed: strings.ReplaceAll(query, "OF_BATCH", "= ANY($2::int[])"),
	}
}

func (q statement) of(s Span) string {
	if s.Members != nil {
		return q.listed
	}
	return q.ranged
}

// Range returns the batch's recipients, and whether its messages are rendered or it is closed, so that there is nothing left to render.
// ErrNoBatch.
func (l *Ledger) Range(ctx context.Context, b Batch) (s Span, rendered bool, err error) {
	err = l.pool.QueryRow(ctx, `
		SELECT first, last, members, closed_at IS NOT NULL OR EXISTS (SELECT FROM spool s WHERE s.mailing = b.mailing AND s.batch = b.number)
		FROM batches b WHERE mailing = $1 AND number = $2`, b.Mailing, b.Number).Scan(&s.First, &s.Last, &s.Members, &rendered)
	if errors.Is(err, pgx.ErrNoRows) {
		return s, false, ErrNoBatch
	}
	if err != nil {
		return s, false, fmt.Errorf("read the batch: %w", err)
	}
	return s, rendered, nil
}

// Failure is a recipient whose message could not be made.
type Failure struct {
	Recipient int32
	Reason    string
}

// Store keeps the rendered messages of a batch and the failures among its recipients, both or neither. If another attempt has
// rendered the batch meanwhile, its messages stand and these are dropped: what may have been sent must not change.
// ErrTooLarge, ErrNoBatch.
func (l *Ledger) Store(ctx context.Context, b Batch, messages []byte, failures []Failure) error {
	if len(messages) > MaxSpool {
		return fmt.Errorf("spool the batch: %w", ErrTooLarge)
	}
	recipients, reasons := make([]int32, len(failures)), make([]string, len(failures))
	for i, f := range failures {
		recipients[i], reasons[i] = f.Recipient, f.Reason
	}
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		var open bool
		err := tx.QueryRow(ctx, `SELECT closed_at IS NULL FROM batches WHERE mailing = $1 AND number = $2 FOR UPDATE`, b.Mailing, b.Number).Scan(&open)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoBatch
		}
		if err != nil || !open {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO spool (mailing, batch, messages) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, b.Mailing, b.Number, messages)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if len(failures) > 0 {
			if err := fail(ctx, tx, b.Mailing, recipients, reasons); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `UPDATE batches SET rendered_at = now() WHERE mailing = $1 AND number = $2`, b.Mailing, b.Number)
		return err
	})
	if err != nil {
		return fmt.Errorf("spool the batch: %w", err)
	}
	return nil
}

// fail gives recipients that could not be rendered their outcome. Where the messages were lost and are rendered
// again, a recipient may have an outcome already, which stands; and one that may have got the earlier mail is
// uncertain, and not failed.
func fail(ctx context.Context, tx pgx.Tx, mailing int64, recipients []int32, reasons []string) error {
	if err := joinByHash(ctx, tx); err != nil {
		return err
	}
	var batch pgx.Batch
	batch.Queue(`
		UPDATE deliveries d SET status = 'uncertain', final = true, answered_at = coalesce(d.answered_at, now())
		FROM (SELECT recipient, max(attempt) FILTER (WHERE status IN ('intent', 'uncertain')) AS attempt
		      FROM deliveries WHERE mailing = $1 AND recipient = ANY($2) GROUP BY recipient HAVING NOT bool_or(final)) latest
		WHERE d.mailing = $1 AND d.recipient = ANY($2) AND d.recipient = latest.recipient AND d.attempt = latest.attempt`,
		mailing, recipients)
	batch.Queue(`
		INSERT INTO deliveries (mailing, recipient, attempt, status, final, reply, answered_at)
		SELECT $1, x.recipient, 0, 'failed', true, x.reason, now() FROM unnest($2::int[], $3::text[]) AS x(recipient, reason)
		ON CONFLICT DO NOTHING`, mailing, recipients, reasons)
	return tx.SendBatch(ctx, &batch).Close()
}

// DropSpool deletes the batch's rendered messages, so that the batch is rendered again: for messages that
// cannot be read. Outcomes stay. ErrFenced: the claim does not hold any more, or the batch is closed.
func (l *Ledger) DropSpool(ctx context.Context, c *Claim) error {
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE batches SET rendered_at = NULL WHERE mailing = $1 AND number = $2 AND fence = $3 AND closed_at IS NULL`,
			c.Mailing, c.Number, c.Fence)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrFenced
		}
		_, err = tx.Exec(ctx, `DELETE FROM spool WHERE mailing = $1 AND batch = $2`, c.Mailing, c.Number)
		return err
	})
	if err != nil {
		return fmt.Errorf("drop the rendered messages: %w", err)
	}
	return nil
}

// Claim is the right to send what is open of a batch, until somebody else claims it.
type Claim struct {
	Batch
	Span  Span
	Fence int64
	// Settled holds how the batch stands if it is closed already; the fields below are empty then.
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

// Tried is what the ledger knows of a recipient before a new attempt.
type Tried struct {
	Attempts  int32 // the highest attempt so far
	Final     bool  // has an outcome: must not be sent to
	Deferred  bool  // was refused for now since the batch was made: is not sent to before another round
	Uncertain int   // attempts whose answer was never seen: a new one is possibly the second mail
}

// Claim takes the batch over. Intents that were left behind become uncertain: final if hold, else open for another attempt.
// Recipients who have opted out since the list was frozen get that outcome. ErrNoSpool, ErrNoBatch.
func (l *Ledger) Claim(ctx context.Context, b Batch, hold bool) (*Claim, error) {
	c := &Claim{Batch: b}
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		var opened *time.Time
		n := &c.Settled.Counts
		err := tx.QueryRow(ctx, `
			UPDATE batches SET fence = fence + 1 WHERE mailing = $1 AND number = $2
			RETURNING fence, first, last, members, opened_at, closed_at IS NOT NULL, sent, bounced, failed, opted_out, uncertain, unsent, possibly_twice`,
			b.Mailing, b.Number).
			Scan(&c.Fence, &c.Span.First, &c.Span.Last, &c.Span.Members, &opened, &c.Settled.Closed,
				&n.Sent, &n.Bounced, &n.Failed, &n.OptedOut, &n.Uncertain, &n.Unsent, &n.PossiblyTwice)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNoBatch
		case err != nil:
			return err
		case c.Settled.Closed:
			return c.Settled.readDeferred(ctx, tx, b)
		}
		return c.takeOver(ctx, tx, opened, hold)
	})
	if err != nil {
		return nil, fmt.Errorf("claim the batch: %w", err)
	}
	return c, nil
}

// leaveUncertain makes no second outcome: not of a recipient that has one, and not of two intents of one recipient.
var leaveUncertain = ofBatch(`
	UPDATE deliveries d SET status = 'uncertain', reply = 'the answer was never seen', answered_at = now(),
		final = ($3 OR (SELECT count(*) FROM deliveries u
				WHERE u.mailing = $1 AND u.recipient = d.recipient AND u.status IN ('uncertain', 'intent')) >= $4)
			AND NOT EXISTS (SELECT FROM deliveries o
				WHERE o.mailing = $1 AND o.recipient = d.recipient AND (o.final OR o.status = 'intent' AND o.attempt > d.attempt))
	WHERE mailing = $1 AND recipient OF_BATCH AND status = 'intent'`)

// As a scalar subquery it is a look-up for each recipient; as a join the planner may read all opt-outs for each batch.
var readOptedOut = ofBatch(`
	SELECT number FROM recipients r WHERE mailing = $1 AND number OF_BATCH AND (SELECT true FROM opt_outs o WHERE o.address_key = r.address_key)`)

var readTried = ofBatch(`
	SELECT recipient, max(attempt), bool_or(final), count(*) FILTER (WHERE status = 'uncertain'),
		coalesce((array_agg(status IN ('deferred', 'refused') AND ($3::timestamptz IS NULL OR answered_at >= $3) ORDER BY attempt DESC))[1], false)
	FROM deliveries WHERE mailing = $1 AND recipient OF_BATCH GROUP BY recipient`)

// takeOver runs its statements in one round trip, and in a second one if somebody has opted out.
//
// None joins the deliveries with another table: the statistics may not know of the mailing yet, and a planner that takes its deliveries
// for one row has compared each recipient of the batch with all of them.
func (c *Claim) takeOver(ctx context.Context, tx pgx.Tx, opened *time.Time, hold bool) error {
	var optedOut []int32
	var batch pgx.Batch
	numbers := c.Span.numbers()
	batch.Queue(leaveUncertain.of(c.Span), c.Mailing, numbers, hold, MaxUncertain)
	batch.Queue(readOptedOut.of(c.Span), c.Mailing, numbers).
		Query(func(rows pgx.Rows) (err error) {
			optedOut, err = pgx.CollectRows(rows, pgx.RowTo[int32])
			return err
		})
	batch.Queue(readTried.of(c.Span), c.Mailing, numbers, opened).
		Query(func(rows pgx.Rows) error {
			c.Tried = map[int32]Tried{}
			for rows.Next() {
				var recipient int32
				var t Tried
				if err := rows.Scan(&recipient, &t.Attempts, &t.Final, &t.Uncertain, &t.Deferred); err != nil {
					return err
				}
				c.Tried[recipient] = t
			}
			return rows.Err()
		})
	batch.Queue(`SELECT messages FROM spool WHERE mailing = $1 AND batch = $2`, c.Mailing, c.Number).
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
	return c.spare(ctx, tx, optedOut)
}

// spare gives their outcome to recipients who have opted out and have none: they are not sent to again, but whoever may have got the mail
// before is not said to have been spared it.
func (c *Claim) spare(ctx context.Context, tx pgx.Tx, optedOut []int32) error {
	var untouched, maybe []int32
	for _, r := range optedOut {
		t := c.Tried[r]
		switch {
		case t.Final:
			continue
		case t.Uncertain > 0:
			maybe = append(maybe, r)
		default:
			untouched = append(untouched, r)
		}
		t.Final = true
		c.Tried[r] = t
	}
	var batch pgx.Batch
	if len(maybe) > 0 {
		batch.Queue(`
			UPDATE deliveries d SET final = true WHERE mailing = $1 AND recipient = ANY($2) AND attempt = (
				SELECT max(attempt) FROM deliveries u WHERE u.mailing = $1 AND u.recipient = d.recipient AND u.status = 'uncertain')
			AND NOT EXISTS (SELECT FROM deliveries o WHERE o.mailing = $1 AND o.recipient = d.recipient AND o.final)`, c.Mailing, maybe)
	}
	if len(untouched) > 0 {
		batch.Queue(`
			INSERT INTO deliveries (mailing, recipient, attempt, status, final)
			SELECT $1, number, 0, 'opted_out', true FROM unnest($2::int[]) AS number
			ON CONFLICT DO NOTHING`, c.Mailing, untouched)
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, &batch).Close()
}
