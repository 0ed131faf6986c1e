package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Span is the recipients of a batch, by their numbers in the mailing: all from First to Last, or,
// if there are any, the Members.
type Span struct {
	First, Last int32
	Members     []int32
	Begun       int `db:"-"` // attempts to render the batch that have not ended: their workers may have died
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

var (
	endOptedOut    = statement("open_opted_out")
	insertBatches  = statement("open_batches")
	storeUncertain = statement("store_uncertain")
	storeFailed    = statement("store_failed")
	storeDeferred  = statement("store_deferred")
)

// OpenBatches makes the batches of a mailing whose audience is being frozen, in the transaction of
// the freeze: of the recipients numbered from 1 to mailable, size of them in each batch. The
// recipients behind them must not be mailed, and get the outcome opted out. It returns the number
// of batches.
func OpenBatches(ctx context.Context, tx pgx.Tx, mailing, mailable int64, size int) (batches int, err error) {
	args := pgx.NamedArgs{"mailing": mailing, "mailable": mailable, "size": size}
	if _, err := tx.Exec(ctx, endOptedOut, args); err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, insertBatches, args)
	return int(tag.RowsAffected()), err
}

// Range returns the batch's recipients. It also returns whether the batch's messages are rendered
// or the batch is closed, so that there is nothing left to render. It returns ErrNoBatch if there
// is no such batch.
func (l *Ledger) Range(ctx context.Context, b Batch) (s Span, rendered bool, err error) {
	err = l.pool.QueryRow(ctx, `
		SELECT first, last, members, renderings, closed_at IS NOT NULL
			OR EXISTS (SELECT FROM spool s WHERE s.mailing = b.mailing AND s.batch = b.number)
		FROM batches b WHERE mailing = $1 AND number = $2`, b.Mailing, b.Number).
		Scan(&s.First, &s.Last, &s.Members, &s.Begun, &rendered)
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
	Later     bool // it may be made in a later round: the recipient is deferred
}

// Store keeps the rendered messages of a batch and the failures among its recipients, both or
// neither. If another attempt has rendered the batch meanwhile, its messages stay and these are
// dropped: bytes that may have been sent must not change. It returns ErrTooLarge or ErrNoBatch.
func (l *Ledger) Store(ctx context.Context, b Batch, messages []byte, failures []Failure) error {
	if len(messages) > MaxSpool {
		return fmt.Errorf("spool the batch: %w", ErrTooLarge)
	}
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		if len(messages) > maxSpool(tx) {
			return ErrTooLarge
		}
		args := pgx.NamedArgs{"mailing": b.Mailing, "batch": b.Number, "messages": messages}
		var open bool
		err := tx.QueryRow(ctx, `
			SELECT closed_at IS NULL FROM batches WHERE mailing = @mailing AND number = @batch FOR UPDATE`, args).Scan(&open)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoBatch
		}
		if err != nil || !open {
			return err
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO spool (mailing, batch, messages) VALUES (@mailing, @batch, @messages)
			ON CONFLICT DO NOTHING`, args)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if len(failures) > 0 {
			if err := fail(ctx, tx, b.Mailing, failures); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `
			UPDATE batches SET rendered_at = now(), renderings = 0 WHERE mailing = @mailing AND number = @batch`, args)
		return err
	})
	if err != nil {
		return fmt.Errorf("spool the batch: %w", err)
	}
	return nil
}

// maxSpool is MaxSpool, or half of it in the modes of pgx that send each byte as two digits.
func maxSpool(tx pgx.Tx) int {
	switch tx.Conn().Config().DefaultQueryExecMode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return MaxSpool / 2
	}
	return MaxSpool
}

// fail gives recipients that could not be rendered their outcome. When lost messages are rendered
// again, a recipient may have an outcome already, which stands. A recipient that may have got the
// earlier mail is uncertain, and not failed.
func fail(ctx context.Context, tx pgx.Tx, mailing int64, failures []Failure) error {
	if err := joinByHash(ctx, tx); err != nil {
		return err
	}
	var recipients, later []int32
	var reasons, laterReasons []string
	for _, f := range failures {
		if f.Later {
			later, laterReasons = append(later, f.Recipient), append(laterReasons, f.Reason)
			continue
		}
		recipients, reasons = append(recipients, f.Recipient), append(reasons, f.Reason)
	}
	args := pgx.NamedArgs{"mailing": mailing, "recipients": recipients, "reasons": reasons}
	var batch pgx.Batch
	batch.Queue(storeUncertain, args)
	batch.Queue(storeFailed, args)
	batch.Queue(storeDeferred, pgx.NamedArgs{"mailing": mailing, "recipients": later, "reasons": laterReasons})
	return tx.SendBatch(ctx, &batch).Close()
}

// DropSpool deletes the batch's rendered messages, which cannot be read, so that the batch is
// rendered again. Outcomes stay. It returns ErrFenced if the claim does not hold any more.
func (l *Ledger) DropSpool(ctx context.Context, c *Claim) error {
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE batches SET rendered_at = NULL
			WHERE mailing = $1 AND number = $2 AND fence = $3 AND closed_at IS NULL`, c.Mailing, c.Number, c.Fence)
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

// joinByHash keeps the planner from nested loops for the rest of the transaction. The tables grow
// by millions of rows faster than statistics are gathered: the planner would take them for empty,
// and compare every recipient with every delivery.
//
// A plan that has to use a nested loop all the same gets an enormous cost. PostgreSQL would compile
// such a plan, which takes longer than the statement.
func joinByHash(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SET LOCAL enable_nestloop = off; SET LOCAL jit = off`)
	return err
}
