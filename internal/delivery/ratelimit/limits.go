package ratelimit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"directmailer/internal/delivery/rate"
)

// limits are the limits of all mailings together and those of the mailings that this worker sends,
// as read at a moment of the monotonic clock. The maps do not change.
type limits struct {
	at       int64
	of       map[Scope]*limit
	mailings map[int64]*atomic.Int64 // when somebody last asked for each; monotonic
}

// cover reports whether the limits of the mailing are among them, and notes that somebody has asked
// for it. 0 is no mailing.
func (l *limits) cover(mailing, now int64) bool {
	if mailing == 0 {
		return true
	}
	asked := l.mailings[mailing]
	if asked == nil {
		return false
	}
	asked.Store(now)
	return true
}

// known returns the limits that are set, with those of the mailing. They are read again in the
// background when they are no longer fresh, and at once when they are stale.
func (p *Pacer) known(ctx context.Context, mailing int64) (*limits, error) {
	known, now := p.limits.Load(), p.monotonic()
	if known != nil && known.cover(mailing, now) {
		switch age := now - known.at; {
		case age < int64(freshFor):
			return known, nil
		case age < int64(staleAfter):
			p.reading.DoChan("", p.read)
			return known, nil
		}
	}
	for {
		p.sends(mailing, now)
		known, err := p.readAgain(ctx)
		if err != nil || known.cover(mailing, now) {
			return known, err
		}
	}
}

// sends has the limits of the mailing read from now on.
func (p *Pacer) sends(mailing, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if mailing != 0 && p.mailings[mailing] == nil {
		asked := &atomic.Int64{}
		asked.Store(now)
		p.mailings[mailing] = asked
		p.changes++ // an answer that is on its way lacks them
	}
}

// sent returns the mailings whose limits are to be read: those that somebody has asked for lately.
// It forgets the others. It needs mu.
func (p *Pacer) sent() map[int64]*atomic.Int64 {
	since := p.monotonic() - int64(keepFor)
	maps.DeleteFunc(p.mailings, func(_ int64, asked *atomic.Int64) bool { return asked.Load() < since })
	return maps.Clone(p.mailings)
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
		changes, mailings := p.changes, p.sent()
		p.mu.Unlock()
		answer, err := p.query(ctx, slices.AppendSeq([]int64{0}, maps.Keys(mailings)))
		if err != nil {
			return nil, fmt.Errorf("read the rate limits: %w", err)
		}
		if known := p.adopt(answer, changes, mailings); known != nil {
			return known, nil
		}
	}
}

// answer is the database's clock with limits that are set.
type answer struct {
	before, after int64 // monotonic
	now           int64
	set           []Limit
}

var listLimits = statement("list")

// query reads the limits of the mailings; 0 stands for those of all mailings together, and nil for
// every limit.
func (p *Pacer) query(ctx context.Context, mailings []int64) (a answer, err error) {
	a.before = p.monotonic()
	rows, err := p.pool.Query(ctx, listLimits, pgx.NamedArgs{"mailings": mailings})
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
func (p *Pacer) adopt(a answer, changes int, mailings map[int64]*atomic.Int64) *limits {
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
	known := &limits{at: a.before, of: of, mailings: mailings}
	p.limits.Store(known)
	return known
}
