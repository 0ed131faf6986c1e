package mailings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// They keep the order, the address and the attributes that they had then. An address that does not
// exist has been suppressed when that mailing ended: to continue the bounced sends to the others,
// those refused for good for another reason.
const continueRecipients = `
	INSERT INTO recipients (mailing, number, address, address_key, attributes)
	SELECT $1, row_number() OVER (ORDER BY o.address_key IS NOT NULL, r.number), r.address, r.address_key, r.attributes
	FROM deliveries d
	JOIN recipients r ON r.mailing = d.mailing AND r.number = d.recipient
	LEFT JOIN opt_outs o ON o.address_key = r.address_key
	WHERE d.mailing = $2 AND d.final AND d.status = ANY($3::text[]::delivery_status[])`

// Continue does what Freeze does, but with those recipients of an earlier mailing, which has ended, whose outcome is one of outcomes
// (unsent, failed, bounced, uncertain), as they were frozen then. Whoever has opted out since is subtracted. ErrNoEarlier, ErrNotEnded,
// ErrNobodyLeft; ErrNotFound if the new mailing is not reserved.
func (s *Store) Continue(ctx context.Context, id, earlier string, outcomes []string, batchSize int) (Frozen, error) {
	return prepare(ctx, s.pool, id, batchSize, func(ctx context.Context, tx pgx.Tx, m Mailing) (f Frozen, err error) {
		var key int64
		var ended bool
		// FOR SHARE: outcomes that are being resolved by hand are waited for, and none changes meanwhile.
		err = tx.QueryRow(ctx, `SELECT key, closed_at IS NOT NULL FROM mailings WHERE id = $1 FOR SHARE`, earlier).Scan(&key, &ended)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return f, ErrNoEarlier
		case err != nil:
			return f, err
		case !ended:
			return f, ErrNotEnded
		}
		tag, err := tx.Exec(ctx, continueRecipients, m.Key, key, outcomes)
		if err != nil {
			return f, err
		}
		f.Recipients = tag.RowsAffected()
		f.Members = f.Recipients // an address is there once already
		if f.Recipients == 0 {
			return f, ErrNobodyLeft
		}
		f.OptedOut, err = countOptedOut(ctx, tx, m)
		return f, err
	})
}

// Left is the number of recipients of an earlier mailing that [Store.Continue] would take. ErrNoEarlier, ErrNotEnded, ErrNobodyLeft.
func (s *Store) Left(ctx context.Context, earlier string, outcomes []string) (int64, error) {
	m, err := s.Get(ctx, earlier)
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, ErrNoEarlier
	case err != nil:
		return 0, err
	case m.ClosedAt == nil:
		return 0, ErrNotEnded
	}
	var counts struct{ Unsent, Failed, Bounced, Uncertain int64 }
	if err := json.Unmarshal(m.Counts, &counts); err != nil {
		return 0, fmt.Errorf("read the counts of mailing %s: %w", earlier, err)
	}
	of := map[string]int64{"unsent": counts.Unsent, "failed": counts.Failed, "bounced": counts.Bounced, "uncertain": counts.Uncertain}
	var left int64
	for _, o := range outcomes {
		left += of[o]
	}
	if left == 0 {
		return 0, ErrNobodyLeft
	}
	return left, nil
}
