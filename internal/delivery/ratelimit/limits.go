package ratelimit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/delivery/rate"
)

// limits are all limits that are set, as read at a moment of the monotonic clock. The map does not
// change.
type limits struct {
	at int64
	of map[Scope]*limit
}

// known returns the limits that are set. They are read again in the background when they are no
// longer fresh, and at once when they are stale.
func (p *Pacer) known(ctx context.Context) (*limits, error) {
	known := p.limits.Load()
	if known != nil {
		switch age := p.monotonic() - known.at; {
		case age < int64(freshFor):
			return known, nil
		case age < int64(staleAfter):
			p.reading.DoChan("", p.read)
			return known, nil
		}
	}
	return p.readAgain(ctx)
}

// readAgain reads the limits from the database. Callers at the same time share one read.
func (p *Pacer) readAgain(ctx context.Context) (*limits, error) {
	select {
	case r := <-p.reading.DoChan("", p.read):
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*limits), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *Pacer) read() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	for {
		p.mu.Lock()
		changes := p.changes
		p.mu.Unlock()
		answer, err := p.query(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the rate limits: %w", err)
		}
		if known := p.adopt(answer, changes); known != nil {
			return known, nil
		}
	}
}

// answer is the database's clock with all limits that are set.
type answer struct {
	before, after int64 // monotonic
	now           int64
	set           []Limit
}

var listLimits = statement("list")

func (p *Pacer) query(ctx context.Context) (a answer, err error) {
	a.before = p.monotonic()
	rows, err := p.pool.Query(ctx, listLimits)
	if err != nil {
		return a, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[struct {
		Now                 int64
		Kind, Name          string
		Mailing             int64
		Messages            int
		Seconds, GivenUntil int64
		UpdatedAt           time.Time
	}])
	a.after = p.monotonic()
	for _, row := range all {
		a.now = row.Now
		if kind := kindOf(row.Kind); kind != 0 {
			a.set = append(a.set, Limit{
				Scope:     Scope{kind, row.Name, row.Mailing},
				Rate:      rate.Rate{Count: row.Messages, Per: time.Duration(row.Seconds) * time.Second},
				UpdatedAt: row.UpdatedAt, GivenUntil: time.Unix(0, row.GivenUntil),
			})
		}
	}
	return a, err
}

// adopt makes the answer the known limits. It returns nil if this process has changed a limit while
// the answer was on its way.
func (p *Pacer) adopt(a answer, changes int) *limits {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changes != changes {
		return nil
	}
	p.observe(a.before, a.after, a.now)
	of := make(map[Scope]*limit, len(a.set))
	for _, s := range a.set {
		l := p.last[s.Scope]
		if l == nil || l.removed {
			l = &limit{scope: s.Scope, rate: s.Rate, more: never}
		}
		l.change(s.Rate)
		of[s.Scope] = l
	}
	p.last = of
	known := &limits{at: a.before, of: of}
	p.limits.Store(known)
	return known
}
