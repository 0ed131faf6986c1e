package ledger

import (
	"context"
	"fmt"
)

// Outcomes counts the outcomes of a claimed batch that is still open.
func (l *Ledger) Outcomes(ctx context.Context, c *Claim) (Counts, error) {
	var n Counts
	err := l.pool.QueryRow(ctx, finals.of(c.Span), c.Mailing, c.Span.numbers()).
		Scan(&n.Sent, &n.Bounced, &n.Failed, &n.OptedOut, &n.Uncertain, &n.Unsent, &n.PossiblyTwice)
	if err != nil {
		return Counts{}, fmt.Errorf("count the outcomes of the batch: %w", err)
	}
	return n, nil
}
