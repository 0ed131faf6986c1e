package ratelimit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/delivery/rate"
)

// Limit is a limit that is set.
type Limit struct {
	Scope     Scope
	Rate      rate.Rate
	UpdatedAt time.Time // of its last change
	// GivenUntil is until when turns are given away. Before that, only messages that hold a turn
	// go. A time in the past says that nobody waits.
	GivenUntil time.Time
}

var setLimit = statement("set")

// Set sets the limit of a scope, or removes it if r is the zero value. All workers keep to it
// within two seconds.
func (p *Pacer) Set(ctx context.Context, s Scope, r rate.Rate) error {
	if r.IsZero() {
		return p.Drop(ctx, s)
	}
	if err := s.check(); err != nil {
		return fmt.Errorf("set a rate limit: %q %w", s.Name, err)
	}
	if err := r.Check(); err != nil {
		return fmt.Errorf("set a rate limit: the rate %s %w", r, err)
	}
	spacing, turns := shapeOf(r)
	_, err := p.pool.Exec(ctx, setLimit, pgx.NamedArgs{
		"kind": s.Kind.String(), "name": s.Name, "messages": r.Count, "seconds": int64(r.Per / time.Second),
		"spacing": spacing, "turns": turns,
	})
	if err != nil {
		return fmt.Errorf("set a rate limit: %w", err)
	}
	p.forget()
	return nil
}

// Drop removes the limit of a scope, such as that of a mailing that has ended. Without one it does
// nothing.
func (p *Pacer) Drop(ctx context.Context, s Scope) error {
	_, err := p.pool.Exec(ctx, `DELETE FROM rate_limits WHERE kind = $1 AND name = $2`, s.Kind.String(), s.Name)
	if err != nil {
		return fmt.Errorf("remove a rate limit: %w", err)
	}
	p.forget()
	return nil
}

// List returns the limits that are set: drop points first, then domains, then mailings by their
// keys.
func (p *Pacer) List(ctx context.Context) ([]Limit, error) {
	read, err := p.query(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the rate limits: %w", err)
	}
	return read.set, nil
}

// forget has the limits read again before the next turn.
func (p *Pacer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes++
	p.limits.Store(nil)
}
