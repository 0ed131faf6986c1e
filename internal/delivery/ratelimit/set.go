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
		"kind": s.Kind.String(), "name": s.Name, "mailing": s.Mailing, "messages": r.Count,
		"seconds": int64(r.Per / time.Second),
		"spacing": spacing, "turns": turns,
	})
	if err != nil {
		return fmt.Errorf("set a rate limit: %w", err)
	}
	p.forget()
	return nil
}

// Drop removes the limit of a scope. Without one it does nothing.
func (p *Pacer) Drop(ctx context.Context, s Scope) error {
	return p.drop(ctx, `DELETE FROM rate_limits WHERE kind = $1 AND name = $2 AND mailing = $3`,
		s.Kind.String(), s.Name, s.Mailing)
}

// DropMailing removes every limit that is for one mailing only, such as one that has ended.
func (p *Pacer) DropMailing(ctx context.Context, key int64) error {
	return p.drop(ctx, `DELETE FROM rate_limits WHERE mailing = $1 AND mailing <> 0`, key)
}

func (p *Pacer) drop(ctx context.Context, sql string, args ...any) error {
	if _, err := p.pool.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("remove a rate limit: %w", err)
	}
	p.forget()
	return nil
}

// List returns the limits that are set: those of all mailings first, drop points before domains,
// then those of each mailing.
func (p *Pacer) List(ctx context.Context) ([]Limit, error) {
	read, err := p.query(ctx, nil)
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
