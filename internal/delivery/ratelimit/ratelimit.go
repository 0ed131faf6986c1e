package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"
)

const (
	// freshFor is how long the limits are used before they are read again, while they are used on.
	freshFor = time.Second
	// staleAfter is how long they are used if they cannot be read.
	staleAfter = 2 * time.Second
	// justRead is how old the limits may be when Ask returns a Turn beyond staleAfter.
	justRead = 100 * time.Millisecond
	// answerWithin is how long the database may take for one of our statements.
	answerWithin = 5 * time.Second
	// retryAfter is the pause after a lease in the background that failed.
	retryAfter = 100 * time.Millisecond
)

// Pacer gives turns to the messages of one worker. It is safe for use by several goroutines. It needs no closing: nothing runs while
// nobody asks.
type Pacer struct {
	pool  *pgxpool.Pool
	began time.Time

	limits  atomic.Pointer[limits] // nil: to be read
	reading singleflight.Group

	mu      sync.Mutex
	clock   clock
	last    map[Scope]*limit // as last read, even if to be read again
	changes int              // by Set and Drop
}

// limits are all that are set, as read at a moment of the monotonic clock. The map is not changed.
type limits struct {
	at int64
	of map[Scope]*limit
}

// New returns a Pacer on pool; it uses at most a few connections, for a moment.
func New(pool *pgxpool.Pool) *Pacer { return &Pacer{pool: pool, began: time.Now()} }

// Refusal says why a message may not go now.
type Refusal struct {
	// Wait is when there is a use in asking again: never more than a second, however slow the rate, since it may have changed by then.
	Wait time.Duration
	// Turn is when the turn comes as the rates are now.
	Turn time.Duration
	// Of is the kind of the limit that is waited for longest.
	Of Kind
}

// Ask asks for a message's turn under every limit that is set for one of the scopes, all or nothing. With the zero Refusal the message may
// go now, and must, or the turn is given up. Otherwise nothing was taken; meanwhile messages under other limits can go, and the next to ask
// gets the turn.
//
// Without a limit on the scopes Ask neither locks nor allocates. With one it asks the database only if no turn is at hand, which is at
// most once for each limit. If the database does not answer, Ask returns the error (database.Unavailable), and nothing may be sent.
func (p *Pacer) Ask(ctx context.Context, scopes []Scope) (Refusal, error) {
	known, err := p.known(ctx)
	if err != nil {
		return Refusal{}, err
	}
	refusal, err := p.askUnder(ctx, known, scopes)
	if err != nil || refusal.Turn <= staleAfter || p.monotonic()-known.at < int64(justRead) {
		return refusal, err
	}
	// A batch rests for a long time, so the time must come from the limits as they are now.
	if known, err = p.readAgain(ctx); err != nil {
		return Refusal{}, err
	}
	return p.askUnder(ctx, known, scopes)
}

// askUnder is Ask with limits that are known.
func (p *Pacer) askUnder(ctx context.Context, known *limits, scopes []Scope) (Refusal, error) {
	if len(known.of) == 0 {
		return Refusal{}, nil
	}
	var few [4]*limit
	set := few[:0]
	for i := range scopes {
		if l := known.of[scopes[i]]; l != nil && !slices.Contains(set, l) {
			set = append(set, l)
		}
	}
	if len(set) == 0 {
		return Refusal{}, nil
	}
	for range len(set) + 1 {
		refusal, ask, want := p.try(set)
		if ask == nil {
			refusal.Wait = min(refusal.Turn, freshFor)
			return refusal, nil
		}
		if err := p.lease(ctx, ask, want); err != nil {
			return Refusal{}, err
		}
	}
	return Refusal{Wait: time.Millisecond, Turn: time.Millisecond, Of: set[0].scope.Kind}, nil // limits change as we look
}

// try takes a turn of each, if each has one now. The first limit that has none at hand, and for which the database should be asked now,
// is returned for the caller to ask. Where there are turns to go on with, it is asked in the background.
func (p *Pacer) try(set []*limit) (refusal Refusal, ask *limit, want int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.monotonic() // read here: a turn that was good before we waited for the lock may be too late
	for _, l := range set {
		if l.removed {
			continue
		}
		w := l.wait(now, &p.clock)
		if w < 0 && ask != nil {
			continue // its turn comes when the caller has asked for the other
		}
		if n := l.due(now, &p.clock, w != 0); n > 0 {
			l.asking, l.asked = true, now
			if w < 0 {
				ask, want = l, n
				continue
			}
			go p.leaseAhead(l, n)
		}
		if w != 0 {
			l.refused++
		}
		if w < 0 || w > 0 && l.asking { // an answer may bring an earlier turn
			w = l.comes(w, now, &p.clock)
		}
		if time.Duration(w) > refusal.Turn {
			refusal.Turn, refusal.Of = time.Duration(w), l.scope.Kind
		}
	}
	if refusal.Turn > 0 || ask != nil {
		return refusal, ask, want
	}
	for _, l := range set {
		if !l.removed {
			l.take()
		}
	}
	return Refusal{}, nil, 0
}

// One statement takes the row's lock, reads the clock, and then gives turns away: of the newest frame, or of the one after it if its
// start is near. A frame begins when the one before it ends, or now if that is past. The first time that a worker asks for turns of a
// frame it gets no more than an equal share among those who ask; so the first to come does not take all. No frame lies far ahead,
// unless the server's clock was set back.
const leaseTurns = `
	WITH held AS MATERIALIZED (
		SELECT * FROM rate_limits WHERE kind = $1 AND name = $2 FOR UPDATE
	), timed AS MATERIALIZED (
		SELECT *, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 AS now FROM held
	), bounded AS (
		SELECT *, CASE WHEN frame_at > now + 2 * $6::bigint THEN now ELSE frame_at + turns * spacing END AS ends FROM timed
	), chosen AS (
		SELECT messages, seconds, spacing, turns, now,
			now >= ends - $5::bigint OR frame_at <> $4::bigint AS first_time,
			CASE WHEN now >= ends - $5::bigint THEN greatest(now, ends) ELSE frame_at END AS frame_at,
			CASE WHEN now >= ends - $5::bigint THEN 0 ELSE given END AS given,
			CASE WHEN now >= ends - $5::bigint THEN 1 WHEN frame_at <> $4::bigint THEN askers + 1 ELSE askers END AS askers,
			CASE WHEN now < ends - $5::bigint THEN askers_before WHEN now < ends + $6::bigint THEN askers ELSE 0 END AS askers_before
		FROM bounded
	), granted AS MATERIALIZED (
		SELECT *, least($3::bigint, turns - given,
			CASE WHEN first_time THEN ceil(turns::numeric / greatest(askers, askers_before))::bigint ELSE turns END) AS n
		FROM chosen
	), written AS (
		UPDATE rate_limits r SET frame_at = g.frame_at, given = g.given + g.n, askers = g.askers, askers_before = g.askers_before
		FROM granted g WHERE r.kind = $1 AND r.name = $2
	)
	SELECT messages, seconds, spacing, turns, frame_at, given, n, now FROM granted`

// lease asks the database for turns. What it is given and this process then loses, by a crash or a lost answer, nobody gets.
func (p *Pacer) lease(ctx context.Context, l *limit, want int64) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	p.mu.Lock()
	newest := l.newest
	p.mu.Unlock()
	var g lease
	var seconds, db int64
	before := p.monotonic()
	err := p.pool.QueryRow(ctx, leaseTurns, l.scope.Kind.String(), l.scope.Name, want, newest, int64(lookahead), int64(2*frameLength)).
		Scan(&g.rate.Count, &seconds, &g.spacing, &g.turns, &g.at, &g.first, &g.n, &db)
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

// leaseAhead asks while there are turns to go on with. Its error is not lost: who finds no turn asks again and is told.
func (p *Pacer) leaseAhead(l *limit, want int64) {
	if err := p.lease(context.Background(), l, want); err != nil {
		p.mu.Lock()
		l.retry = p.monotonic() + int64(retryAfter)
		p.mu.Unlock()
	}
}

// known are the limits that are set. They are read again in the background when they are no longer fresh, and at once when they are stale.
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
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
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

// The left join makes a row for the clock when there are no limits.
const readLimits = `
	SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000, coalesce(kind, ''), coalesce(name, ''),
		coalesce(messages, 0), coalesce(seconds, 0), coalesce(updated_at, 'epoch'), coalesce(frame_at + turns * spacing, 0)
	FROM (SELECT 1) one LEFT JOIN rate_limits ON true
	ORDER BY array_position('{drop_point,domain,mailing}', kind), CASE kind WHEN 'mailing' THEN length(name) END, name`

func (p *Pacer) query(ctx context.Context) (a answer, err error) {
	a.before = p.monotonic()
	rows, err := p.pool.Query(ctx, readLimits)
	if err != nil {
		return a, err
	}
	var kind string
	var seconds, ends int64
	var l Limit
	_, err = pgx.ForEachRow(rows, []any{&a.now, &kind, &l.Scope.Name, &l.Rate.Count, &seconds, &l.UpdatedAt, &ends}, func() error {
		if l.Scope.Kind = kindOf(kind); l.Scope.Kind != 0 {
			l.Rate.Per, l.GivenUntil = time.Duration(seconds)*time.Second, time.Unix(0, ends)
			a.set = append(a.set, l)
		}
		return nil
	})
	a.after = p.monotonic()
	return a, err
}

// adopt makes the answer the known limits; nil if a limit was changed here while it was on its way.
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
