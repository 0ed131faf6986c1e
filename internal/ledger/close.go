package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Ending is what Close found.
type Ending struct {
	// Open lists batches that are not closed (at most 1,000), Deferred counts recipients that wait for a later round, if the mailing was
	// to be complete: it is not ended then.
	Open     []int
	Deferred int
	// Counts are the outcomes, row by row, of an ended mailing; Recipients is their sum.
	Counts     Counts
	Recipients int64
	// Suppression is what was done about addresses that do not exist.
	Suppression Suppression
}

// errOvertaken says that somebody has changed outcomes while they were being counted.
var errOvertaken = errors.New("outcomes have changed since they were counted")

// Close reconciles the mailing row by row and ends it in the given state; it may be repeated, also after a crash in its middle.
//
// A mailing that is complete must have no recipient without an outcome: if there is one in no batch, it is counted to the deferred, due at
// once, and nothing is ended. Any other mailing ends as it is: batches are fenced off and closed first, so that nobody can claim them any
// more; recipients with an attempt whose answer was never seen become uncertain, all others that are open unsent.
func (l *Ledger) Close(ctx context.Context, mailing int64, complete bool, state, reason string) (Ending, error) {
	for {
		e, err := l.close(ctx, mailing, complete, state, reason)
		if !errors.Is(err, errOvertaken) { // by a resolution, which somebody has to ask for: this comes to an end
			return e, err
		}
	}
}

func (l *Ledger) close(ctx context.Context, mailing int64, complete bool, state, reason string) (Ending, error) {
	ended, err := l.ended(ctx, mailing)
	if err != nil || ended != nil {
		return deref(ended), err
	}
	if complete {
		open, err := l.openBatches(ctx, mailing)
		if err != nil || len(open) > 0 {
			return Ending{Open: open}, err
		}
		if deferred, err := l.deferred(ctx, mailing); err != nil || deferred > 0 {
			return Ending{Deferred: deferred}, err
		}
	} else if err := l.fenceOff(ctx, mailing); err != nil {
		return Ending{}, err
	}
	var e Ending
	var revision int64
	err = l.pool.QueryRow(ctx, `SELECT recipients, revision FROM mailings WHERE key = $1`, mailing).Scan(&e.Recipients, &revision)
	if err != nil {
		return Ending{}, fmt.Errorf("read the mailing: %w", err)
	}
	v := verdicts{}
	for first := int64(1); first <= e.Recipients; first += l.chunk {
		last := min(first+l.chunk-1, e.Recipients)
		r, err := l.closeChunk(ctx, mailing, int32(first), int32(last), complete, v)
		if err != nil {
			return Ending{}, err
		}
		if r.broken > 0 {
			return l.reopen(ctx, mailing, r, complete)
		}
		e.Counts = e.Counts.add(r.counts)
	}
	deferred, err := l.end(ctx, mailing, revision, complete, state, reason, &e, v)
	if err != nil || complete && deferred > 0 {
		return Ending{Deferred: deferred}, err
	}
	return e, nil
}

func (l *Ledger) closeChunk(ctx context.Context, mailing int64, first, last int32, complete bool, v verdicts) (r reconciliation, err error) {
	var found verdicts
	err = pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if err := joinByHash(ctx, tx); err != nil {
			return err
		}
		if !complete {
			if _, err := tx.Exec(ctx, endUncertain, mailing, first, last); err != nil {
				return fmt.Errorf("mark uncertain recipients: %w", err)
			}
			if _, err := tx.Exec(ctx, endUnsent, mailing, first, last); err != nil {
				return fmt.Errorf("mark unsent recipients: %w", err)
			}
		}
		if r, err = reconcile(ctx, tx, mailing, Span{First: first, Last: last}); err != nil {
			return err
		}
		found, err = readVerdicts(ctx, tx, mailing, first, last)
		return err
	})
	if err == nil {
		v.add(found)
	}
	return r, err
}

// endUncertain: of each recipient without an outcome, the latest attempt whose answer was never seen becomes it.
const endUncertain = `
	UPDATE deliveries d SET status = 'uncertain', final = true, answered_at = coalesce(d.answered_at, now())
	FROM (SELECT recipient, max(attempt) FILTER (WHERE status IN ('intent', 'uncertain')) AS attempt
	      FROM deliveries WHERE mailing = $1 AND recipient BETWEEN $2 AND $3 GROUP BY recipient HAVING NOT bool_or(final)) latest
	WHERE d.mailing = $1 AND d.recipient BETWEEN $2 AND $3 AND d.recipient = latest.recipient AND d.attempt = latest.attempt`

const endUnsent = `
	INSERT INTO deliveries (mailing, recipient, attempt, status, final, reply)
	SELECT r.mailing, r.number, 0, 'unsent', true, 'the mailing ended first'
	FROM recipients r WHERE r.mailing = $1 AND r.number BETWEEN $2 AND $3
	AND NOT EXISTS (SELECT FROM deliveries d WHERE d.mailing = $1 AND d.recipient BETWEEN $2 AND $3 AND d.recipient = r.number AND d.final)
	ON CONFLICT DO NOTHING`

// fenceOff closes every batch, and ends the waiting of the deferred. From here on nobody is added to the mailing or sent to again: whoever
// asked for it would be told that it is going to happen, and it would not.
func (l *Ledger) fenceOff(ctx context.Context, mailing int64) error {
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		var batch pgx.Batch
		batch.Queue(`UPDATE mailings SET ending = true WHERE key = $1`, mailing) // and nobody gathers meanwhile
		batch.Queue(`UPDATE batches SET fence = fence + 1, closed_at = now() WHERE mailing = $1 AND closed_at IS NULL`, mailing)
		batch.Queue(`DELETE FROM deferrals WHERE mailing = $1`, mailing)
		return tx.SendBatch(ctx, &batch).Close()
	})
	if err != nil {
		return fmt.Errorf("fence off the batches: %w", err)
	}
	return nil
}

func (l *Ledger) deferred(ctx context.Context, mailing int64) (n int, err error) {
	if err := l.pool.QueryRow(ctx, `SELECT count(*) FROM deferrals WHERE mailing = $1`, mailing).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the deferred: %w", err)
	}
	return n, nil
}

// reopen answers for a ledger that does not close although every batch says it is closed: whoever was left out is sent to after all.
func (l *Ledger) reopen(ctx context.Context, mailing int64, r reconciliation, complete bool) (Ending, error) {
	if !complete {
		return Ending{}, fmt.Errorf("the ledger does not close: recipient %d has not exactly one outcome", r.first)
	}
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if err := joinByHash(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO deferrals (mailing, recipient, batch, due)
			SELECT $1, r.number, 0, now() FROM recipients r
			WHERE r.mailing = $1 AND NOT EXISTS (SELECT FROM deliveries d WHERE d.mailing = $1 AND d.recipient = r.number AND d.final)
			ON CONFLICT DO NOTHING`, mailing)
		return err
	})
	if err != nil {
		return Ending{}, fmt.Errorf("open recipients again: %w", err)
	}
	deferred, err := l.deferred(ctx, mailing) // somebody may have opened them before
	if err == nil && deferred == 0 {
		err = fmt.Errorf("the ledger does not close: recipient %d has not exactly one outcome", r.first)
	}
	return Ending{Deferred: deferred}, err
}

func (l *Ledger) openBatches(ctx context.Context, mailing int64) ([]int, error) {
	rows, err := l.pool.Query(ctx, `SELECT number FROM batches WHERE mailing = $1 AND closed_at IS NULL ORDER BY number LIMIT 1000`, mailing)
	if err != nil {
		return nil, fmt.Errorf("read open batches: %w", err)
	}
	open, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, fmt.Errorf("read open batches: %w", err)
	}
	return open, nil
}

// end writes the end down. A complete mailing whose recipients somebody has opened again meanwhile is not ended: their number is returned.
// errOvertaken: the counts are not those of the rows any more.
func (l *Ledger) end(ctx context.Context, mailing, revision int64, complete bool, state, reason string, e *Ending, v verdicts) (deferred int, err error) {
	err = pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		var now int64 // whoever raises it holds the row until his changes are there
		if err := tx.QueryRow(ctx, `SELECT revision FROM mailings WHERE key = $1 FOR UPDATE`, mailing).Scan(&now); err != nil {
			return err
		}
		if now != revision {
			return errOvertaken
		}
		err := tx.QueryRow(ctx, `SELECT count(*) FROM deferrals WHERE mailing = $1`, mailing).Scan(&deferred)
		if err != nil || complete && deferred > 0 {
			return err
		}
		if e.Suppression, err = suppress(ctx, tx, mailing, v); err != nil {
			return err
		}
		var batch pgx.Batch
		batch.Queue(`
			UPDATE mailings SET state = $2, reason = $3, counts = $4, suppression = $5, closed_at = now()
			WHERE key = $1 AND closed_at IS NULL`, mailing, state, reason, e.Counts, e.Suppression)
		batch.Queue(`UPDATE batches SET closed_at = now() WHERE mailing = $1 AND closed_at IS NULL`, mailing)
		batch.Queue(`DELETE FROM spool WHERE mailing = $1`, mailing)
		batch.Queue(`DELETE FROM deferrals WHERE mailing = $1`, mailing)
		return tx.SendBatch(ctx, &batch).Close()
	})
	if err != nil {
		return 0, fmt.Errorf("end the mailing: %w", err)
	}
	return deferred, nil
}

// ended returns how a mailing that is closed already was closed, or nil.
func (l *Ledger) ended(ctx context.Context, mailing int64) (*Ending, error) {
	var counts []byte
	var e Ending
	err := l.pool.QueryRow(ctx, `
		SELECT recipients, counts, coalesce(suppression, '{}') FROM mailings WHERE key = $1`, mailing).
		Scan(&e.Recipients, &counts, &e.Suppression)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNoBatch
	}
	if err != nil {
		return nil, fmt.Errorf("read the mailing: %w", err)
	}
	if counts == nil {
		return nil, nil
	}
	if err := json.Unmarshal(counts, &e.Counts); err != nil {
		return nil, fmt.Errorf("read the mailing's counts: %w", err)
	}
	return &e, nil
}

func deref(e *Ending) Ending {
	if e == nil {
		return Ending{}
	}
	return *e
}

func (c Counts) add(d Counts) Counts {
	c.Sent += d.Sent
	c.Bounced += d.Bounced
	c.Failed += d.Failed
	c.OptedOut += d.OptedOut
	c.Uncertain += d.Uncertain
	c.Unsent += d.Unsent
	c.PossiblyTwice += d.PossiblyTwice
	return c
}
