package optouts

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Reconsider suppresses, by the hard bounces of a mailing that has ended, the addresses that were
// not suppressed while it ran. In the middle of a mailing, bounces of messages that are not counted
// as sent yet may be more than [Trusted] allows. It returns how many addresses are suppressed now
// and were not before.
func Reconsider(ctx context.Context, tx pgx.Tx, mailing string) (n int64, err error) {
	rows, err := tx.Query(ctx, `
		SELECT address_key, class, code, mailing, at FROM bounce_findings WHERE mailing = $1 AND class = 'hard'
		ORDER BY address_key`, mailing)
	if err != nil {
		return 0, fmt.Errorf("read the bounces of the mailing: %w", err)
	}
	findings, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Finding])
	if err != nil {
		return 0, fmt.Errorf("read the bounces of the mailing: %w", err)
	}
	if trusted, err := (shares{}).trusted(ctx, tx, mailing, Hard); err != nil || !trusted {
		return 0, err
	}
	return suppressHard(ctx, tx, findings, report)
}
