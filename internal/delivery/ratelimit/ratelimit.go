package ratelimit

import (
	"context"
	"embed"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"

	"directmailer/internal/database"
)

//go:embed sql/*.sql
var files embed.FS

// statement returns the statement of a file in the folder sql.
var statement = database.Statements(files)

const (
	// freshFor is how long the limits are used before they are read again in the background.
	freshFor = time.Second
	// staleAfter is how long the limits are used if they cannot be read.
	staleAfter = 2 * time.Second
	// justRead is how old the limits may be when Ask returns a Turn beyond staleAfter.
	justRead = 100 * time.Millisecond
	// queryTimeout is how long the database may take for one of our statements.
	queryTimeout = 5 * time.Second
	// keepFor is how long the limits of a mailing are read after somebody has asked for it. A batch
	// that waits for a limit rests for a minute at most. The worker loses the turns that it holds
	// under limits that it reads no more.
	keepFor = 5 * time.Minute
	// retryAfter is the pause after a lease in the background that failed.
	retryAfter = 100 * time.Millisecond
)

// Pacer gives turns to the messages of one worker. It is safe for concurrent use. It needs no
// closing: nothing runs while nobody asks.
type Pacer struct {
	pool  *pgxpool.Pool
	began time.Time

	limits  atomic.Pointer[limits] // nil: to be read
	reading singleflight.Group

	mu       sync.Mutex
	clock    clock
	last     map[Scope]*limit        // as last read, even if they are to be read again
	mailings map[int64]*atomic.Int64 // that messages were asked for, and when; monotonic
	changes  int                     // of limits by Set and Drop, and of mailings
}

// New returns a Pacer on pool; it uses at most a few connections, for a moment.
func New(pool *pgxpool.Pool) *Pacer {
	return &Pacer{pool: pool, began: time.Now(), mailings: map[int64]*atomic.Int64{}}
}

// Refusal says why a message may not go now.
type Refusal struct {
	// Wait is the time after which it is worth asking again. It is a second at most, however slow
	// the rate: the rate may have changed by then.
	Wait time.Duration
	// Turn is the time after which the turn comes if the rates stay as they are.
	Turn time.Duration
	// Of is the kind of the limit that is waited for longest.
	Of Kind
}

// Ask asks for a message's turn under every limit that is set for one of the scopes, all or
// nothing. The scopes are of one mailing at most. With the zero Refusal the message may go now. If
// it does not go now, the turn is lost. Otherwise Ask has taken nothing: messages under other
// limits can go meanwhile, and the next message to ask gets the turn.
//
// Without a limit on the scopes Ask neither locks nor allocates. With one it asks the database only
// if no turn is at hand, at most once for each limit. If the database does not answer, Ask returns
// the error (database.Unavailable), and nothing may be sent.
func (p *Pacer) Ask(ctx context.Context, scopes []Scope) (Refusal, error) {
	known, err := p.known(ctx, mailingOf(scopes))
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

// mailingOf returns the mailing of the scopes, or 0.
func mailingOf(scopes []Scope) int64 {
	for i := range scopes {
		if scopes[i].Mailing != 0 {
			return scopes[i].Mailing
		}
	}
	return 0
}

// askUnder is Ask with limits that are known.
func (p *Pacer) askUnder(ctx context.Context, known *limits, scopes []Scope) (Refusal, error) {
	if len(known.of) == 0 {
		return Refusal{}, nil
	}
	var few [5]*limit
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
	return Refusal{
		Wait: time.Millisecond,
		Turn: time.Millisecond,
		Of:   set[0].scope.Kind,
	}, nil // limits change meanwhile
}

// try takes a turn of each limit, if each has one now. It returns the first limit that has none at
// hand and for which the database should be asked now: the caller asks. For limits that have turns
// to go on with, try asks in the background.
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
