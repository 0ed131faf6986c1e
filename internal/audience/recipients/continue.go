package recipients

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/counts"
	"directmailer/internal/ledger"
	"directmailer/internal/mailings"
)

// leftOf selects the recipients of the mailing who have one of the outcomes, as they were frozen
// then. An address that does not exist was suppressed when that mailing ended: to continue the
// bounced sends to the others, which were refused for good for another reason.
func leftOf(mailing int64, outcomes []string) (string, error) {
	quoted := make([]string, len(outcomes))
	for i, o := range outcomes {
		if !slices.Contains(continuable, ledger.Status(o)) {
			return "", fmt.Errorf("nobody is continued whose outcome is %q", o)
		}
		quoted[i] = "'" + o + "'"
	}
	return fmt.Sprintf(`
		SELECT r.number AS position, r.address, r.address_key, r.attributes
		FROM deliveries d JOIN recipients r ON r.mailing = d.mailing AND r.number = d.recipient
		WHERE d.mailing = %d AND d.final AND d.status IN (%s)`, mailing, strings.Join(quoted, ", ")), nil
}

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
		source, err := leftOf(old.Key, outcomes)
		if err != nil {
			return f, err
		}
		f, err = insertMembers(ctx, tx, m, source, false, 0)
		f.Members = f.Recipients // each address is there once already
		if err == nil && f.Recipients == 0 {
			err = ErrNobodyLeft
		}
		return f, err
	}
	return freeze(ctx, s.pool, id, batchSize, insert)
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

var continuable = []ledger.Status{ledger.Unsent, ledger.Failed, ledger.Bounced, ledger.Uncertain}

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
