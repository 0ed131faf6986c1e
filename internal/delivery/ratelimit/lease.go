package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

var leaseTurns = statement("lease")

// lease asks the database for turns. Turns that it is given and then loses, by a crash or a lost
// answer, go unused.
func (p *Pacer) lease(ctx context.Context, l *limit, want int64) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	p.mu.Lock()
	newest := l.newest
	p.mu.Unlock()
	var g lease
	var seconds, db int64
	before := p.monotonic()
	err := p.pool.QueryRow(ctx, leaseTurns, pgx.NamedArgs{
		"kind": l.scope.Kind.String(), "name": l.scope.Name, "mailing": l.scope.Mailing, "want": want, "newest": newest,
		"lookahead": int64(lookahead), "far": int64(2 * frameLength),
	}).Scan(&g.rate.Count, &seconds, &g.spacing, &g.turns, &g.at, &g.first, &g.n, &db)
	after := p.monotonic()
	g.rate.Per = time.Duration(seconds) * time.Second

	p.mu.Lock()
	defer p.mu.Unlock()
	l.asking = false
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		l.removed = true
		p.limits.Store(nil)
		return nil
	case err != nil:
		return fmt.Errorf("ask for turns under a rate limit: %w", err)
	}
	p.observe(before, after, db)
	l.grant(g, want)
	return nil
}

// leaseAhead asks while there are turns to go on with. Its error is not lost: a message that finds
// no turn asks again, and gets it.
func (p *Pacer) leaseAhead(l *limit, want int64) {
	if err := p.lease(context.Background(), l, want); err != nil {
		p.mu.Lock()
		l.retry = p.monotonic() + int64(retryAfter)
		p.mu.Unlock()
	}
}
