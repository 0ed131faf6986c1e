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

// Progress is how far a mailing is.
type Progress struct {
	Counts           counts.Counts // of all who have an outcome
	Rendered, Closed int           // batches
	// Deferred recipients wait for a later round; the first of them is due at NextRound.
	Deferred  int
	NextRound *time.Time
}

var readProgress = statement("progress")

// Progress reads the counters of closed batches, and the rows of those that are being sent: it
// costs the same however large the mailing is. For a mailing that has ended it returns the
// reconciled counts. It returns ErrNoBatch if there is no such mailing.
func (l *Ledger) Progress(ctx context.Context, mailing int64) (p Progress, err error) {
	// One snapshot: no batch is closed between its counter and its rows.
	err = pgx.BeginTxFunc(ctx, l.pool, database.ReadOnly, func(tx pgx.Tx) error {
		ended, err := p.readCounters(ctx, tx, mailing)
		if err != nil || ended {
			return err
		}
		spans, err := spansUnderWay(ctx, tx, mailing)
		if err != nil {
			return err
		}
		var batch pgx.Batch
		for _, span := range spans {
			args := pgx.NamedArgs{"mailing": mailing, "numbers": span.numbers()}
			batch.Queue(countOutcomes.of(span), args).Query(func(rows pgx.Rows) error {
				n, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[counts.Counts])
				p.Counts = p.Counts.Add(n)
				return err
			})
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return p, ErrNoBatch
	}
	if err != nil {
		return p, fmt.Errorf("read how far the mailing is: %w", err)
	}
	return p, nil
}

// readCounters reads the counters of closed batches, or the counts of a mailing that has ended.
func (p *Progress) readCounters(ctx context.Context, tx pgx.Tx, mailing int64) (ended bool, err error) {
	rows, err := tx.Query(ctx, readProgress, pgx.NamedArgs{"mailing": mailing})
	if err != nil {
		return false, err
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[struct {
		Ended          *counts.Counts
		OptedOutBefore int64 // the freeze
		counts.Counts
		Rendered, Closed, Deferred int
		NextRound                  *time.Time
	}])
	if err != nil {
		return false, err
	}
	*p = Progress{row.Counts, row.Rendered, row.Closed, row.Deferred, row.NextRound}
	if row.Ended != nil {
		p.Counts = *row.Ended
		return true, nil
	}
	p.Counts.OptedOut += row.OptedOutBefore
	return false, nil
}

// spansUnderWay returns the recipients of the batches that a worker has begun to send.
func spansUnderWay(ctx context.Context, tx pgx.Tx, mailing int64) ([]Span, error) {
	rows, err := tx.Query(ctx, `
		SELECT first, last, members FROM batches WHERE mailing = $1 AND closed_at IS NULL AND fence > 0`, mailing)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Span])
}
