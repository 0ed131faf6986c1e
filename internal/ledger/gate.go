package ledger

import (
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
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
