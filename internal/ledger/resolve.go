package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
)

// Resolution is what somebody has decided about recipients whose outcome is uncertain.
type Resolution string

// The resolutions.
const (
	// AsSent: they have got it.
	AsSent Resolution = "sent"
	// Again: they are sent to again, and may get it twice.
	Again Resolution = "resend"
)

// ErrEnded says that the mailing has ended, so that nothing can be sent again.
var ErrEnded = errors.New("the mailing has ended")

// heldUncertain are recipients whose outcome is uncertain, and the batch, closed, to which they were counted: the last one they were in.
const heldUncertain = `
	SELECT d.recipient, d.attempt, b.number AS batch
	FROM deliveries d JOIN LATERAL (
		SELECT number, closed_at FROM batches
		WHERE mailing = d.mailing AND d.recipient BETWEEN first AND last AND (members IS NULL OR d.recipient = ANY(members))
		ORDER BY number DESC LIMIT 1) b ON b.closed_at IS NOT NULL
	WHERE d.mailing = $1 AND d.final AND d.status = 'uncertain'`

// Resolve decides about every recipient that is held as uncertain, and returns how many there were. Those of batches that are still open
// are left for another time. Sending again is for mailings that have not ended and are not about to: ErrEnded. ErrNoBatch: there is no such mailing.
func (l *Ledger) Resolve(ctx context.Context, mailing int64, as Resolution) (int, error) {
	var resolved int
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		var ended bool
		// The revision tells a Close that is counting. It may be raised by whoever was stopped here and goes on after it has begun.
		err := tx.QueryRow(ctx, `
			UPDATE mailings SET revision = revision + 1 WHERE key = $1 RETURNING ending OR closed_at IS NOT NULL`, mailing).Scan(&ended)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNoBatch
		case err != nil:
			return err
		case ended && as == Again:
			return ErrEnded
		case as == Again:
			return tx.QueryRow(ctx, `
				WITH held AS MATERIALIZED (`+heldUncertain+`), opened AS (
					UPDATE deliveries d SET final = false FROM held h WHERE d.mailing = $1 AND d.recipient = h.recipient AND d.attempt = h.attempt
				), deferred AS (
					INSERT INTO deferrals (mailing, recipient, batch, due) SELECT $1, recipient, batch, now() FROM held
				), counted AS (
					UPDATE batches b SET uncertain = uncertain - n FROM (SELECT batch, count(*) AS n FROM held GROUP BY batch) h WHERE b.mailing = $1 AND b.number = h.batch
				) SELECT count(*) FROM held`, mailing).Scan(&resolved)
		}
		return tx.QueryRow(ctx, `
			WITH held AS MATERIALIZED (`+heldUncertain+`), sent AS (
				UPDATE deliveries d SET status = 'sent', reply = 'somebody has found out that it was received'
				FROM held h WHERE d.mailing = $1 AND d.recipient = h.recipient AND d.attempt = h.attempt
			), counted AS (
				UPDATE batches b SET uncertain = uncertain - n, sent = sent + n
				FROM (SELECT batch, count(*) AS n FROM held GROUP BY batch) h WHERE b.mailing = $1 AND b.number = h.batch
			), recounted AS (
				UPDATE mailings SET counts = jsonb_set(jsonb_set(counts, '{Uncertain}', to_jsonb((counts->>'Uncertain')::bigint - (SELECT count(*) FROM held))),
					'{Sent}', to_jsonb((counts->>'Sent')::bigint + (SELECT count(*) FROM held)))
				WHERE key = $1 AND counts IS NOT NULL
			) SELECT count(*) FROM held`, mailing).Scan(&resolved)
	})
	if err != nil {
		return 0, fmt.Errorf("resolve uncertain recipients: %w", err)
	}
	return resolved, nil
}
