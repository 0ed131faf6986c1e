package optouts

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Reconsider suppresses, by the hard bounces of a mailing that has ended, the addresses that were
// not suppressed while it ran: in the middle of a mailing, bounces of messages that are not counted
// as sent yet may be more than [Trusted] allows. If its bounces are too many at the end, it lifts
// what they have suppressed. It may be repeated.
//
// It also drops the findings, of all mailings, that can suppress nobody any more.
func Reconsider(ctx context.Context, tx pgx.Tx, mailing string) error {
	if _, err := tx.Exec(ctx, forgetFindings, pgx.NamedArgs{"keep": SoftWindow}); err != nil {
		return fmt.Errorf("drop old bounces: %w", err)
	}
	shares := shares{}
	if _, err := shares.trusted(ctx, tx, mailing, Soft); err != nil {
		return err
	}
	if trusted, err := shares.trusted(ctx, tx, mailing, Hard); err != nil || !trusted {
		return err
	}
	rows, err := tx.Query(ctx, `
		SELECT address_key, class, code, mailing, at FROM bounce_findings WHERE mailing = $1 AND class = 'hard'
		ORDER BY address_key`, mailing)
	if err != nil {
		return fmt.Errorf("read the bounces of the mailing: %w", err)
	}
	findings, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Finding])
	if err != nil {
		return fmt.Errorf("read the bounces of the mailing: %w", err)
	}
	// Not suppressHard: the findings about addresses that are suppressed already are counted.
	_, err = change(ctx, tx, "suppress addresses", suppress, rowsOf(findings, report))
	return err
}
