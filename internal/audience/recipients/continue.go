package recipients

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/counts"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
)

var continueRecipients = statement("insert_left")

// Continue does what [Store.Freeze] does, but with those recipients of an earlier mailing, which
// has ended, whose outcome is one of outcomes (unsent, failed, bounced, uncertain), as they were
// frozen then. Recipients who have opted out since are subtracted. It returns ErrNoEarlier,
// ErrNotEnded, ErrNobodyLeft, or mailings.ErrNotFound if the new mailing is not reserved.
func (s *Store) Continue(
	ctx context.Context, id, earlier string, outcomes []string, batchSize int,
) (mailings.Frozen, error) {
	insert := func(ctx context.Context, tx pgx.Tx, m mailings.Mailing) (f mailings.Frozen, err error) {
		// The shared lock waits for outcomes that are being resolved by hand, and nobody changes
		// one meanwhile.
		old, err := mailings.ShareByID(ctx, tx, earlier)
		switch {
		case errors.Is(err, mailings.ErrNotFound):
			return f, ErrNoEarlier
		case err != nil:
			return f, err
		case old.ClosedAt == nil:
			return f, ErrNotEnded
		}
		tag, err := tx.Exec(ctx, continueRecipients,
			pgx.NamedArgs{"mailing": m.Key, "earlier": old.Key, "outcomes": outcomes})
		if err != nil {
			return f, err
		}
		f.Recipients = tag.RowsAffected()
		f.Members = f.Recipients // each address is there once already
		if f.Recipients == 0 {
			return f, ErrNobodyLeft
		}
		f.OptedOut, err = countOptedOut(ctx, tx, m.Key)
		return f, err
	}
	return freeze(ctx, s.pool, id, batchSize, insert)
}

func countOptedOut(ctx context.Context, tx pgx.Tx, mailing int64) (n int64, err error) {
	err = tx.QueryRow(ctx, `
		SELECT count(*) FROM recipients r JOIN opt_outs o USING (address_key) WHERE r.mailing = $1`, mailing).Scan(&n)
	return n, err
}

// Left is the number of recipients of an earlier mailing that [Store.Continue] would take. It
// returns ErrNoEarlier, ErrNotEnded or ErrNobodyLeft.
func (s *Store) Left(ctx context.Context, earlier string, outcomes []string) (int64, error) {
	m, err := mailings.New(s.pool).Get(ctx, earlier)
	switch {
	case errors.Is(err, mailings.ErrNotFound):
		return 0, ErrNoEarlier
	case err != nil:
		return 0, err
	case m.ClosedAt == nil:
		return 0, ErrNotEnded
	case m.Counts == nil:
		return 0, fmt.Errorf("mailing %s has ended without counts", earlier)
	}
	var left int64
	for _, o := range outcomes {
		left += Continuable(*m.Counts, o)
	}
	if left == 0 {
		return 0, ErrNobodyLeft
	}
	return left, nil
}

// Continuable is how many recipients have the outcome, if recipients with that outcome can be
// continued: unsent, failed, bounced or uncertain.
func Continuable(c counts.Counts, outcome string) int64 {
	switch ledger.Status(outcome) {
	case ledger.Unsent:
		return c.Unsent
	case ledger.Failed:
		return c.Failed
	case ledger.Bounced:
		return c.Bounced
	case ledger.Uncertain:
		return c.Uncertain
	}
	return 0
}
