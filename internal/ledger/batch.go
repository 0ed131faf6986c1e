package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Range returns the numbers of the batch's first and last recipient, and whether its messages are rendered or it is closed, so that
// there is nothing left to render. ErrNoBatch.
func (l *Ledger) Range(ctx context.Context, b Batch) (first, last int32, rendered bool, err error) {
	err = l.pool.QueryRow(ctx, `
		SELECT first, last, closed_at IS NOT NULL OR EXISTS (SELECT FROM spool s WHERE s.mailing = b.mailing AND s.batch = b.number)
		FROM batches b WHERE mailing = $1 AND number = $2`, b.Mailing, b.Number).Scan(&first, &last, &rendered)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, false, ErrNoBatch
	}
	if err != nil {
		return 0, 0, false, fmt.Errorf("read the batch: %w", err)
	}
	return first, last, rendered, nil
}

// Failure is a recipient whose message could not be made.
type Failure struct {
	Recipient int32
	Reason    string
}

// Store keeps the rendered messages of a batch and the failures among its recipients, both or neither. If another attempt has
// rendered the batch meanwhile, its messages stand and these are dropped: what may have been sent must not change.
func (l *Ledger) Store(ctx context.Context, b Batch, messages []byte, failures []Failure) error {
	recipients, reasons := make([]int32, len(failures)), make([]string, len(failures))
	for i, f := range failures {
		recipients[i], reasons[i] = f.Recipient, f.Reason
	}
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
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
		// A recipient that already has a final delivery (the spool was lost and is rendered again) keeps it.
		_, err = tx.Exec(ctx, `
			INSERT INTO deliveries (mailing, recipient, attempt, status, final, reply, answered_at)
			SELECT $1, x.recipient, 0, 'failed', true, x.reason, now() FROM unnest($2::int[], $3::text[]) AS x(recipient, reason)
			WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.mailing = $1 AND d.recipient = x.recipient AND d.final)`,
			b.Mailing, recipients, reasons)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE batches SET rendered_at = now() WHERE mailing = $1 AND number = $2`, b.Mailing, b.Number)
		return err
	})
	if err != nil {
		return fmt.Errorf("spool the batch: %w", err)
	}
	return nil
}

// Claim is the right to send what is open of a batch, until somebody else claims it.
type Claim struct {
	Batch
	Fence int64
	// Closed is true when nothing is open any more; Counts then holds the outcomes, and the fields below are empty.
	Closed bool
	Counts Counts
	// Messages is the spooled blob.
	Messages []byte
	// Tried holds the recipients that have deliveries already.
	Tried map[int32]Tried
}

// Tried is what the ledger knows of a recipient before a new attempt.
type Tried struct {
	Attempts  int32 // the highest attempt so far
	Final     bool  // has an outcome: must not be sent to
	Uncertain int   // attempts whose answer was never seen: a new one is possibly the second mail
}

// Claim takes the batch over. Intents that were left behind become uncertain: final if hold, else open for another attempt.
// Recipients who have opted out since the list was frozen get that outcome. ErrNoSpool, ErrNoBatch.
func (l *Ledger) Claim(ctx context.Context, b Batch, hold bool) (*Claim, error) {
	c := &Claim{Batch: b}
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		var first, last int32
		err := tx.QueryRow(ctx, `
			UPDATE batches SET fence = fence + 1 WHERE mailing = $1 AND number = $2
			RETURNING fence, first, last, closed_at IS NOT NULL, sent, bounced, failed, opted_out, uncertain, unsent, possibly_twice`, b.Mailing, b.Number).
			Scan(&c.Fence, &first, &last, &c.Closed, &c.Counts.Sent, &c.Counts.Bounced, &c.Counts.Failed, &c.Counts.OptedOut,
				&c.Counts.Uncertain, &c.Counts.Unsent, &c.Counts.PossiblyTwice)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoBatch
		}
		if err != nil || c.Closed {
			return err
		}
		return c.takeOver(ctx, tx, first, last, hold)
	})
	if err != nil {
		return nil, fmt.Errorf("claim the batch: %w", err)
	}
	return c, nil
}

// takeOver runs its statements in one round trip.
func (c *Claim) takeOver(ctx context.Context, tx pgx.Tx, first, last int32, hold bool) error {
	var batch pgx.Batch
	batch.Queue(`
		UPDATE deliveries d SET status = 'uncertain', reply = 'the answer was never seen', answered_at = now(),
			final = $4 OR (SELECT count(*) FROM deliveries u WHERE u.mailing = $1 AND u.recipient = d.recipient AND u.status = 'uncertain') + 1 >= $5
		WHERE mailing = $1 AND recipient BETWEEN $2 AND $3 AND status = 'intent'`, c.Mailing, first, last, hold, MaxUncertain)
	// Who has opted out is not sent to again; who may have got the mail before is not said to have been spared it.
	batch.Queue(`
		UPDATE deliveries d SET final = true
		FROM (SELECT d.recipient, max(d.attempt) FILTER (WHERE d.status = 'uncertain') AS attempt
		      FROM deliveries d JOIN recipients r ON r.mailing = d.mailing AND r.number = d.recipient JOIN opt_outs o ON o.address_key = r.address_key
		      WHERE d.mailing = $1 AND d.recipient BETWEEN $2 AND $3 GROUP BY d.recipient HAVING NOT bool_or(d.final)) latest
		WHERE d.mailing = $1 AND d.recipient = latest.recipient AND d.attempt = latest.attempt`, c.Mailing, first, last)
	batch.Queue(`
		INSERT INTO deliveries (mailing, recipient, attempt, status, final)
		SELECT r.mailing, r.number, 0, 'opted_out', true
		FROM recipients r JOIN opt_outs o ON o.address_key = r.address_key
		WHERE r.mailing = $1 AND r.number BETWEEN $2 AND $3
		AND NOT EXISTS (SELECT FROM deliveries d WHERE d.mailing = $1 AND d.recipient = r.number AND d.final)`, c.Mailing, first, last)
	batch.Queue(`
		SELECT recipient, max(attempt), bool_or(final), count(*) FILTER (WHERE status = 'uncertain')
		FROM deliveries WHERE mailing = $1 AND recipient BETWEEN $2 AND $3 GROUP BY recipient`, c.Mailing, first, last).
		Query(func(rows pgx.Rows) error {
			c.Tried = map[int32]Tried{}
			for rows.Next() {
				var recipient int32
				var t Tried
				if err := rows.Scan(&recipient, &t.Attempts, &t.Final, &t.Uncertain); err != nil {
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
	return tx.SendBatch(ctx, &batch).Close()
}

// Settled says how a batch stands after an attempt.
type Settled struct {
	Closed bool
	Counts Counts
	Open   int // recipients without an outcome
}

// Settle closes the batch if each of its recipients has exactly one final delivery, and drops its spool. With lastRound, recipients
// whose latest attempt was deferred or refused become failed first. Addresses that bounced for good as addresses (5.1.x)
// are kept from later mailings. ErrFenced.
func (l *Ledger) Settle(ctx context.Context, c *Claim, lastRound bool) (Settled, error) {
	var s Settled
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		var first, last int32
		err := tx.QueryRow(ctx, `
			SELECT first, last FROM batches WHERE mailing = $1 AND number = $2 AND fence = $3 AND closed_at IS NULL FOR UPDATE`,
			c.Mailing, c.Number, c.Fence).Scan(&first, &last)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrFenced
		}
		if err != nil {
			return err
		}
		if err := joinByHash(ctx, tx); err != nil {
			return err
		}
		if lastRound {
			if _, err := tx.Exec(ctx, failDeferred, c.Mailing, first, last); err != nil {
				return err
			}
		}
		r, err := reconcile(ctx, tx, c.Mailing, first, last)
		if err != nil {
			return err
		}
		s = Settled{Closed: r.broken == 0, Counts: r.counts, Open: r.broken}
		if !s.Closed {
			return nil
		}
		return closeBatch(ctx, tx, c.Batch, first, last, s.Counts)
	})
	if err != nil {
		return Settled{}, fmt.Errorf("settle the batch: %w", err)
	}
	return s, nil
}

// failDeferred gives up on recipients whose latest attempt was refused for now, keeping code and text.
const failDeferred = `
	UPDATE deliveries d SET status = 'failed', final = true
	FROM (SELECT recipient, max(attempt) AS attempt, bool_or(final) AS done
	      FROM deliveries WHERE mailing = $1 AND recipient BETWEEN $2 AND $3 GROUP BY recipient) latest
	WHERE d.mailing = $1 AND d.recipient = latest.recipient AND d.attempt = latest.attempt AND NOT latest.done
	AND d.status IN ('deferred', 'refused')`

func closeBatch(ctx context.Context, tx pgx.Tx, b Batch, first, last int32, n Counts) error {
	var batch pgx.Batch
	batch.Queue(`
		UPDATE batches SET closed_at = now(), sent = $3, bounced = $4, failed = $5, opted_out = $6, uncertain = $7, unsent = $8, possibly_twice = $9
		WHERE mailing = $1 AND number = $2`, b.Mailing, b.Number, n.Sent, n.Bounced, n.Failed, n.OptedOut, n.Uncertain, n.Unsent, n.PossiblyTwice)
	batch.Queue(`DELETE FROM spool WHERE mailing = $1 AND batch = $2`, b.Mailing, b.Number)
	if n.Bounced > 0 {
		// 5.1.7 and 5.1.8 are about the sender's address.
		batch.Queue(`
			INSERT INTO opt_outs (address_key, reason, mailing)
			SELECT r.address_key, d.enhanced, m.id
			FROM deliveries d JOIN recipients r ON r.mailing = d.mailing AND r.number = d.recipient JOIN mailings m ON m.key = d.mailing
			WHERE d.mailing = $1 AND d.recipient BETWEEN $2 AND $3 AND d.status = 'bounced'
			AND d.enhanced LIKE '5.1.%' AND d.enhanced NOT IN ('5.1.7', '5.1.8')
			ON CONFLICT DO NOTHING`, b.Mailing, first, last)
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// joinByHash keeps the planner from nested loops for the rest of the transaction. The tables grow by millions of rows faster than
// statistics are gathered; taking them for empty, it would compare every recipient with every delivery.
func joinByHash(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SET LOCAL enable_nestloop = off`)
	return err
}

type reconciliation struct {
	counts Counts
	broken int // recipients that have not exactly one final delivery
	first  int32
}

// reconcile looks at every recipient from first to last, and trusts no counter.
func reconcile(ctx context.Context, tx pgx.Tx, mailing int64, first, last int32) (r reconciliation, err error) {
	err = tx.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE finals <> 1), coalesce(min(number) FILTER (WHERE finals <> 1), 0),
			count(*) FILTER (WHERE outcome = 'sent'), count(*) FILTER (WHERE outcome = 'bounced'), count(*) FILTER (WHERE outcome = 'failed'),
			count(*) FILTER (WHERE outcome = 'opted_out'), count(*) FILTER (WHERE outcome = 'uncertain'), count(*) FILTER (WHERE outcome = 'unsent'),
			count(*) FILTER (WHERE twice)
		FROM (
			SELECT r.number, count(d.recipient) FILTER (WHERE d.final) AS finals, max(d.status) FILTER (WHERE d.final) AS outcome,
				bool_or(d.possibly_twice AND d.status NOT IN ('intent', 'not_sent', 'deferred', 'refused')) AS twice
			FROM recipients r LEFT JOIN deliveries d ON d.mailing = r.mailing AND d.recipient = r.number
				AND d.mailing = $1 AND d.recipient BETWEEN $2 AND $3
			WHERE r.mailing = $1 AND r.number BETWEEN $2 AND $3
			GROUP BY r.number) each`, mailing, first, last).
		Scan(&r.broken, &r.first, &r.counts.Sent, &r.counts.Bounced, &r.counts.Failed, &r.counts.OptedOut, &r.counts.Uncertain,
			&r.counts.Unsent, &r.counts.PossiblyTwice)
	if err != nil {
		return r, fmt.Errorf("reconcile recipients %d to %d: %w", first, last, err)
	}
	return r, nil
}
