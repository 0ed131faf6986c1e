package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/database"
	"directmailer/internal/mailings"
)

// Resolution is a decision about recipients whose outcome is uncertain.
type Resolution string

// The resolutions.
const (
	// AsSent says that they have the mail.
	AsSent Resolution = "sent"
	// Again has them sent to again: they may get the mail twice.
	Again Resolution = "resend"
)

// ErrEnded says that the mailing has ended, so that nothing can be sent again.
var ErrEnded = errors.New("the mailing has ended")

var (
	resolveSent   = withHeld("resolve_sent")
	resolveResend = withHeld("resolve_resend")
)

// withHeld returns a statement whose HELD is resolve_held.sql.
func withHeld(name string) string {
	return strings.Replace(statement(name), "HELD", statement("resolve_held"), 1)
}

// Resolve decides about every recipient that is held as uncertain, and returns their number.
// Recipients of batches that are still open are left for another time. [Again] is for mailings that
// have not ended and are not about to: ErrEnded. It returns ErrNoBatch if there is no such mailing.
func (l *Ledger) Resolve(ctx context.Context, mailing int64, as Resolution) (int, error) {
	var resolved int
	err := pgx.BeginTxFunc(ctx, l.pool, database.ReadCommitted, func(tx pgx.Tx) error {
		// A Close that is counting notices the new revision. A caller that was stopped here may go
		// on after the Close has begun.
		ending, counts, err := mailings.Revise(ctx, tx, mailing)
		switch {
		case errors.Is(err, mailings.ErrNotFound):
			return ErrNoBatch
		case err != nil:
			return err
		case ending && as == Again:
			return ErrEnded
		}
		sql := resolveSent
		if as == Again {
			sql = resolveResend
		}
		if err := tx.QueryRow(ctx, sql, pgx.NamedArgs{"mailing": mailing}).Scan(&resolved); err != nil ||
			counts == nil {
			return err
		}
		counts.Uncertain -= int64(resolved)
		counts.Sent += int64(resolved)
		return mailings.SetCounts(ctx, tx, mailing, *counts)
	})
	if err != nil {
		return 0, fmt.Errorf("resolve uncertain recipients: %w", err)
	}
	return resolved, nil
}
