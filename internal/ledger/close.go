package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/counts"
	"directmailer/internal/database"
	"directmailer/internal/mailings"
)

// Ending is what Close found.
type Ending struct {
	// Open lists batches that are not closed (at most 1,000), Deferred counts recipients that wait
	// for a later round. Both are about a mailing that was to be complete: it is not ended then.
	Open     []int
	Deferred int
	// Counts are the outcomes, row by row, of an ended mailing; Recipients is their sum.
	Counts     counts.Counts
	Recipients int64
	// Suppression is what was done about addresses that do not exist.
	Suppression mailings.Suppression
}

// errCountsChanged says that outcomes have changed while they were being counted.
var errCountsChanged = errors.New("outcomes have changed since they were counted")

// Close reconciles the mailing row by row and ends it in the given state. It may be repeated, also
// after a crash in its middle.
//
// A mailing that is complete must have no recipient without an outcome. If there is one in no
// batch, it is counted to the deferred, due at once, and nothing is ended. Any other mailing ends
// as it is: its batches are fenced off and closed first, so that nobody can claim them any more.
// Recipients with an attempt whose answer was never seen become uncertain, all others that are open
// unsent.
func (l *Ledger) Close(ctx context.Context, mailing int64, complete bool, state, reason string) (Ending, error) {
	for {
		e, err := l.close(ctx, mailing, complete, mailings.End{State: state, Reason: reason})
		if !errors.Is(err, errCountsChanged) { // each change is a resolution by an operator, so this loop ends
			return e, err
		}
	}
}

func (l *Ledger) close(ctx context.Context, mailing int64, complete bool, end mailings.End) (Ending, error) {
	e, _, ended, err := l.read(ctx, mailing)
	if err != nil || ended {
		return e, err
	}
	if complete {
		open, deferred, err := l.unfinished(ctx, mailing)
		if err != nil || len(open) > 0 {
			return Ending{Open: open}, err
		}
		if deferred > 0 {
			return Ending{Deferred: deferred}, nil
		}
	} else if err := l.fenceOff(ctx, mailing); err != nil {
		return Ending{}, err
	}
	e, revision, ended, err := l.read(ctx, mailing)
	if err != nil || ended {
		return e, err
	}
	answers := answersByDropPoint{}
	for first := int64(1); first <= e.Recipients; first += l.chunk {
		last := min(first+l.chunk-1, e.Recipients)
		r, err := l.closeChunk(ctx, mailing, int32(first), int32(last), complete, answers)
		if err != nil {
			return Ending{}, err
		}
		if r.Unaccounted > 0 {
			return l.reopen(ctx, mailing, r, complete)
		}
		e.Counts = e.Counts.Add(r.Counts)
	}
	deferred, err := l.end(ctx, mailing, revision, complete, end, &e, answers)
	if err != nil || complete && deferred > 0 {
		return Ending{Deferred: deferred}, err
	}
	return e, nil
}

var (
	endUncertain   = statement("close_uncertain")
	endUnsent      = statement("close_unsent")
	reopenUnended  = statement("close_reopen")
	readUnfinished = statement("close_unfinished")
)

// closeChunk reconciles the recipients from first to last, and adds what drop points answered for
// them to answers.
func (l *Ledger) closeChunk(
	ctx context.Context, mailing int64, first, last int32, complete bool, answers answersByDropPoint,
) (r reconciliation, err error) {
	var found answersByDropPoint
	err = pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if err := joinByHash(ctx, tx); err != nil {
			return err
		}
		if !complete {
			args := pgx.NamedArgs{"mailing": mailing, "first": first, "last": last}
			if _, err := tx.Exec(ctx, endUncertain, args); err != nil {
				return fmt.Errorf("mark uncertain recipients: %w", err)
			}
			if _, err := tx.Exec(ctx, endUnsent, args); err != nil {
				return fmt.Errorf("mark unsent recipients: %w", err)
			}
		}
		if r, err = reconcile(ctx, tx, mailing, Span{First: first, Last: last}); err != nil {
			return err
		}
		found, err = readAnswers(ctx, tx, mailing, first, last)
		return err
	})
	if err == nil {
		answers.add(found)
	}
	return r, err
}

// fenceOff closes every batch, and ends the waiting of the deferred. From here on nobody is added
// to the mailing or sent to again: a promise to send would not be kept.
func (l *Ledger) fenceOff(ctx context.Context, mailing int64) error {
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if err := mailings.BeginEnding(ctx, tx, mailing); err != nil { // and nobody gathers meanwhile
			return err
		}
		var batch pgx.Batch
		batch.Queue(`
			UPDATE batches SET fence = fence + 1, closed_at = now() WHERE mailing = $1 AND closed_at IS NULL`, mailing)
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

// reopen is for a ledger that does not close although every batch is closed: recipients that were
// left out are sent to after all.
func (l *Ledger) reopen(ctx context.Context, mailing int64, r reconciliation, complete bool) (Ending, error) {
	unaccounted := fmt.Errorf("the ledger does not close: recipient %d has not exactly one outcome", r.FirstUnaccounted)
	if !complete {
		return Ending{}, unaccounted
	}
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if err := joinByHash(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, reopenUnended, pgx.NamedArgs{"mailing": mailing})
		return err
	})
	if err != nil {
		return Ending{}, fmt.Errorf("open recipients again: %w", err)
	}
	deferred, err := l.deferred(ctx, mailing) // an earlier call may have opened them
	if err == nil && deferred == 0 {
		err = unaccounted
	}
	return Ending{Deferred: deferred}, err
}

// unfinished returns batches that are not closed, at most 1,000, and the number of recipients that
// wait for a later round.
func (l *Ledger) unfinished(ctx context.Context, mailing int64) (open []int, deferred int, err error) {
	err = l.pool.QueryRow(ctx, readUnfinished, pgx.NamedArgs{"mailing": mailing}).Scan(&open, &deferred)
	if err != nil {
		return nil, 0, fmt.Errorf("read open batches and deferred recipients: %w", err)
	}
	return open, deferred, nil
}

// end writes the end down. It does not end a complete mailing whose recipients were opened
// again meanwhile, and returns their number. errCountsChanged says that the counts are not those of
// the rows any more.
func (l *Ledger) end(
	ctx context.Context,
	mailing, revision int64,
	complete bool,
	end mailings.End,
	e *Ending,
	answers answersByDropPoint,
) (deferred int, err error) {
	err = pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		// A transaction that raises the revision holds the row until its changes are there.
		now, _, err := mailings.Lock(ctx, tx, mailing)
		if err != nil {
			return err
		}
		if now != revision {
			return errCountsChanged
		}
		err = tx.QueryRow(ctx, `SELECT count(*) FROM deferrals WHERE mailing = $1`, mailing).Scan(&deferred)
		if err != nil || complete && deferred > 0 {
			return err
		}
		if e.Suppression, err = l.suppress(ctx, tx, mailing, e.Recipients, answers); err != nil {
			return err
		}
		end.Counts, end.Suppression = e.Counts, e.Suppression
		if err := mailings.SetEnded(ctx, tx, mailing, end); err != nil {
			return err
		}
		var batch pgx.Batch
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

// read returns how a mailing that has ended has ended. Of any other mailing it returns the number
// of recipients, and the revision of the outcomes.
func (l *Ledger) read(ctx context.Context, mailing int64) (e Ending, revision int64, ended bool, err error) {
	var counts *counts.Counts
	err = l.pool.QueryRow(ctx, `
		SELECT recipients, revision, counts, coalesce(suppression, '{}') FROM mailings WHERE key = $1`, mailing).
		Scan(&e.Recipients, &revision, &counts, &e.Suppression)
	if errors.Is(err, pgx.ErrNoRows) {
		return Ending{}, 0, false, ErrNoBatch
	}
	if err != nil {
		return Ending{}, 0, false, fmt.Errorf("read the mailing: %w", err)
	}
	if counts != nil {
		e.Counts = *counts
	}
	return e, revision, counts != nil, nil
}
