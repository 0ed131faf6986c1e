package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/counts"
)

var countOutcomes = forSpan("outcomes")

// Outcomes counts the outcomes of a claimed batch that is still open.
func (l *Ledger) Outcomes(ctx context.Context, c *Claim) (n counts.Counts, err error) {
	rows, err := l.pool.Query(ctx, countOutcomes.of(c.Span),
		pgx.NamedArgs{"mailing": c.Mailing, "numbers": c.Span.numbers()})
	if err == nil {
		n, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[counts.Counts])
	}
	if err != nil {
		return n, fmt.Errorf("count the outcomes of the batch: %w", err)
	}
	return n, nil
}
