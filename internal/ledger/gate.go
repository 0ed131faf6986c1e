package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"directmailer/internal/database"
)

// Result is what became of an attempt.
type Result struct {
	Recipient int32
	Attempt   int32
	Status    Status
	Final     bool   // the recipient's outcome
	Code      int16  // SMTP reply code, 0 without one
	Enhanced  string // enhanced status code (RFC 3463), empty without one
	Reply     string // the server's text, or the reason
}

// Attempt is one that is about to be made.
type Attempt struct {
	Recipient     int32
	Number        int32 // 1 for the first
	PossiblyTwice bool  // an earlier attempt is uncertain
	DropPoint     string
}

// commitTimeout is how long the gate tries again when the database is away. Connections wait for it
// with an open message, so it must be far shorter than a server's own timeout; a restart of
// PostgreSQL fits in.
const commitTimeout = 5 * time.Second

// Each commit costs the same CPU time and the same wait for the disk however many entries it holds.
// Where entries come in quick succession, the gate therefore delays a commit: until half of the
// connections have entered, while the other half waits for its server, or for groupDelay at most.
// Where entries come slowly, few more would come in that time, and nothing is delayed.
const (
	groupDelay     = 2 * time.Millisecond
	groupDelayFrom = 2000 // entries a second
)

// Gate commits results and intents in groups: everything that connections have entered during one
// commit goes into the next. One Gate serves all batches of a worker. It is safe for concurrent
// use.
type Gate struct {
	pool *pgxpool.Pool
	kept kept

	mu       sync.Mutex
	waiting  []*Ticket
	spare    []*Ticket // room for the next group
	busy     bool
	expected int           // connections with a committed intent, from which the result is still to come
	enough   int           // entries that end the delay; 0 when nothing is delayed
	full     chan struct{} // signals that there are enough

	// of the goroutine that commits
	rate  float64 // entries a second, smoothed
	since time.Time
	args  commitArgs
}

// NewGate returns a Gate on pool; it uses one connection, and another one after a failure.
func NewGate(pool *pgxpool.Pool) *Gate {
	return &Gate{pool: pool, full: make(chan struct{}, 1), kept: kept{closed: make(chan struct{})}}
}

// Ticket stands for an entry that is on its way into the ledger.
type Ticket struct {
	claim  *Claim
	result *Result
	intent *Attempt
	since  time.Time // when its batch was first found locked
	done   chan error
}

// Enter hands in the result of one attempt and the intent of the next, either of which may be nil.
// Both are committed together or not at all. Enter does not wait: the message may go out up to the
// final step meanwhile. result and intent must not change until Wait returns.
func (g *Gate) Enter(c *Claim, result *Result, intent *Attempt) *Ticket {
	t := tickets.Get().(*Ticket)
	t.claim, t.result, t.intent, t.since = c, result, intent, time.Time{}
	g.mu.Lock()
	defer g.mu.Unlock()
	if result != nil && g.expected > 0 {
		g.expected--
	}
	g.queue(t)
	return t
}

// queue adds a ticket to the next group. The caller holds g.mu.
func (g *Gate) queue(t *Ticket) {
	g.waiting = append(g.waiting, t)
	switch {
	case !g.busy:
		g.busy = true
		go g.commitAll()
	case g.enough > 0 && len(g.waiting) >= g.enough:
		g.enough = 0
		g.full <- struct{}{}
	}
}

var tickets = sync.Pool{New: func() any { return &Ticket{done: make(chan error, 1)} }}

// Wait returns when the entry is committed. It must be called once. ErrFenced says that nothing was
// written, and that nothing more may be sent from the batch. With any other error the entry may or
// may not be written: the final step must not follow the intent.
func (t *Ticket) Wait() error {
	err := <-t.done
	t.claim, t.result, t.intent = nil, nil, nil
	tickets.Put(t)
	return err
}

func (g *Gate) commitAll() {
	for {
		group := g.nextGroup()
		if group == nil {
			return
		}
		g.commit(group)
		g.mu.Lock()
		clear(group)
		g.spare = group[:0]
		g.mu.Unlock()
	}
}

// nextGroup returns the tickets of the next commit, after a delay where that makes the group
// larger. It returns nil, and the gate is idle, when no ticket waits.
func (g *Gate) nextGroup() []*Ticket {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.busy = false
		return nil
	}
	if wanted := (len(g.waiting) + g.expected) / 2; g.rate >= groupDelayFrom && len(g.waiting) < wanted {
		g.delay(wanted)
	}
	group := g.waiting
	g.waiting = g.spare
	now := time.Now()
	if passed := now.Sub(g.since).Seconds(); passed < 1 {
		const weight = 0.1
		g.rate += weight * (float64(len(group))/max(passed, 1e-6) - g.rate)
	} else {
		g.rate = 0
	}
	g.since = now
	return group
}

// delay waits until so many tickets wait, or for groupDelay. The caller holds g.mu, which is
// released meanwhile.
func (g *Gate) delay(wanted int) {
	g.enough = wanted
	g.mu.Unlock()
	timer := time.NewTimer(groupDelay)
	select {
	case <-g.full:
	case <-timer.C:
	}
	timer.Stop()
	g.mu.Lock()
	if g.enough == 0 { // the signal was sent, perhaps while the timer ran out
		select {
		case <-g.full:
		default:
		}
	}
	g.enough = 0
}

// commit writes the group and wakes its members.
func (g *Gate) commit(group []*Ticket) {
	locked, err := g.writeInTime(group)
	answers, committed := g.answer(group, locked, err)
	g.mu.Lock()
	g.expected += committed // before any of them can come back
	g.mu.Unlock()
	var later []*Ticket
	for i, t := range group {
		if answers[i] == errLater {
			later = append(later, t)
		} else {
			t.done <- answers[i] // from here on the ticket is its holder's
		}
	}
	if later != nil {
		time.AfterFunc(lockPause, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, t := range later {
				g.queue(t)
			}
		})
	}
}

// writeInTime writes the group, and returns those of its claims that could not be looked at because
// another transaction has locked their batches. A commit whose answer was lost is repeated: the
// statement changes nothing that it has written before.
func (g *Gate) writeInTime(group []*Ticket) (locked map[claimKey]bool, err error) {
	deadline := time.Now().Add(commitTimeout)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err = g.write(ctx, group)
		if err == nil || ctx.Err() != nil || !database.Unavailable(err) || time.Now().Add(pause).After(deadline) {
			break
		}
		time.Sleep(pause)
	}
	if err != nil {
		clear(g.args.held)
	} else if len(g.args.held) < len(g.args.asked) {
		locked, err = g.locked(ctx)
	}
	if err != nil {
		err = fmt.Errorf("write the ledger: %w", err)
	}
	return locked, err
}

// answer returns what Wait answers to each member of the group, and the number of committed
// intents.
func (g *Gate) answer(group []*Ticket, locked map[claimKey]bool, err error) (answers []error, committed int) {
	answers = g.args.answers[:0]
	for _, t := range group {
		key := claimKey{t.claim.Batch, t.claim.Fence}
		answer := err
		switch {
		case g.args.held[key]:
			answer = nil
			if t.intent != nil {
				committed++
			}
		case err != nil:
		case !locked[key]:
			answer = ErrFenced
		case t.since.IsZero():
			t.since = time.Now()
			fallthrough
		case time.Since(t.since) < commitTimeout:
			answer = errLater
		default:
			answer = fmt.Errorf(
				"write the ledger: another transaction has locked the batch: %w",
				context.DeadlineExceeded,
			)
		}
		answers = append(answers, answer)
	}
	g.args.answers = answers
	return answers, committed
}

// lockPause is the pause before the next try where another transaction has locked the batch, and
// errLater says so.
const lockPause = 50 * time.Millisecond

var errLater = errors.New("the batch is locked")

// claimKey is a claim as the statements name it.
type claimKey struct {
	Batch
	fence int64
}

var (
	commitGroup          = statement("gate")
	commitSecondOutcomes = statement("gate_second_outcomes")
	readLocked           = statement("gate_locked")
)

// locked tells which of the claims that were asked for, and that do not hold, may hold yet.
func (g *Gate) locked(ctx context.Context) (map[claimKey]bool, error) {
	claims := &g.args.claims
	rows, err := g.pool.Query(ctx, readLocked, claims.mailing, claims.number, claims.fence)
	if err != nil {
		return nil, err
	}
	return collect(rows, map[claimKey]bool{})
}

// write commits the group. A result that would be the second outcome of its recipient is written
// down without being one: the other connections of the worker go on, and the batch can be closed.
func (g *Gate) write(ctx context.Context, group []*Ticket) error {
	args := g.args.fill(group)
	if err := g.writeKeptFirst(ctx); err != nil {
		return err
	}
	err := g.run(ctx, commitGroup, args)
	if database.Duplicate(err) {
		err = g.run(ctx, commitSecondOutcomes, args)
	}
	return err
}

// run executes the statement in a transaction of its own, in one round trip.
func (g *Gate) run(ctx context.Context, sql string, args []any) error {
	clear(g.args.held)
	var batch pgx.Batch
	batch.Queue(database.BeginReadCommitted)
	batch.Queue(database.TransactionSettings)
	batch.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		_, err := collect(rows, g.args.held)
		return err
	})
	batch.Queue(`COMMIT`)
	return g.pool.SendBatch(ctx, &batch).Close()
}

// collect adds the rows' claims to found.
func collect(rows pgx.Rows, found map[claimKey]bool) (map[claimKey]bool, error) {
	defer rows.Close()
	for rows.Next() {
		var key claimKey
		if err := rows.Scan(&key.Mailing, &key.Number, &key.fence); err != nil {
			return nil, err
		}
		found[key] = true
	}
	return found, rows.Err()
}
