package ratelimit

import (
	"context"
	"fmt"
	"time"

	"directmailer/internal/delivery/rate"
)

// Limit is a limit that is set.
type Limit struct {
	Scope     Scope
	Rate      rate.Rate
	UpdatedAt time.Time // of its last change
	// GivenUntil is until when turns are given away; no message goes before that but those that hold them. In the past: nobody waits.
	GivenUntil time.Time
}

// A change closes the frames that are open. The next turn is one interval of the new rate after the last that they have. Setting the
// rate that is set already changes nothing, so that everybody who starts a mailing may repeat it.
const setLimit = `
	INSERT INTO rate_limits AS l (kind, name, messages, seconds, spacing, turns, given) VALUES ($1, $2, $3, $4, $5, $6, $6)
	ON CONFLICT (kind, name) DO UPDATE SET
		messages = excluded.messages, seconds = excluded.seconds, spacing = excluded.spacing, turns = excluded.turns,
		frame_at = l.frame_at + (l.turns - 1) * l.spacing - (excluded.turns - 1) * excluded.spacing, given = excluded.turns,
		updated_at = clock_timestamp()
	WHERE l.messages <> excluded.messages OR l.seconds <> excluded.seconds`

// Set sets the limit of a scope, or removes it if r is the zero value. All workers keep to it within two seconds.
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
	if _, err := p.pool.Exec(ctx, setLimit, s.Kind.String(), s.Name, r.Count, int64(r.Per/time.Second), spacing, turns); err != nil {
		return fmt.Errorf("set a rate limit: %w", err)
	}
	p.forget()
	return nil
}

// Drop removes the limit of a scope, such as that of a mailing that has ended. Without one it does nothing.
func (p *Pacer) Drop(ctx context.Context, s Scope) error {
	if _, err := p.pool.Exec(ctx, `DELETE FROM rate_limits WHERE kind = $1 AND name = $2`, s.Kind.String(), s.Name); err != nil {
		return fmt.Errorf("remove a rate limit: %w", err)
	}
	p.forget()
	return nil
}

// List returns the limits that are set: drop points first, then domains, then mailings by their keys.
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
