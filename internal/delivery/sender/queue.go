package sender

import (
	"context"
	"fmt"
	"sync"
	"time"

	"directmailer/internal/ledger"
)

const (
	// slotPolling is the time between two attempts to get a slot of a slow drop point.
	slotPolling = 250 * time.Millisecond
	// maxWaiting limits the messages in memory that wait for the limit of their domain, and those
	// that wait to be sent again.
	maxWaiting = 256
)

// queue hands the messages of a batch to the connections of all drop points. Methods whose comment
// says so need mu; the others lock it.
type queue struct {
	batch      Batch
	dropPoints []*dropPointState
	open       int // recipients of the batch who had no outcome at the start

	// set by Run
	stopAcquiring func() // ends the waiting for connections
	began         time.Time

	mu            sync.Mutex
	changed       chan struct{}      // closed and replaced at every change that connections wait for
	returned      []*item            // not sent after all, in the order in which they go first
	retries       []*item            // to be sent again, after all others
	settled       []*ledger.Result   // what refusals have turned out to mean; written at the end
	soon          []int32            // recipients of them for whom a short pause is enough
	excluded      []ledger.Exclusion // opted out meanwhile; written at the end
	leftOpen      int                // messages whose refusal is still in doubt at the end
	domainLimited []domainItem
	buffers       [][]byte // of messages with an answer, to be reused
	read          int      // messages that Next has returned and that are to be sent
	allRead       bool     // Next has no more
	inFlight      int      // messages that connections have
	turnOver      bool
	turnEnd       time.Time // set with turnOver
	awaited       int       // messages that were in flight at the end of the turn and still are
	stopped       bool      // the worker stops
	finished      bool      // no message is left, or none that a drop point may be asked to accept
}

func newQueue(b Batch) *queue {
	q := &queue{batch: b, changed: make(chan struct{})}
	q.open = b.Claim.Open()
	for _, d := range b.DropPoints {
		if d.Evidence == nil {
			d.Evidence = &Evidence{}
		}
		q.dropPoints = append(q.dropPoints, &dropPointState{DropPoint: d, connections: min(d.Connections(), q.open)})
	}
	return q
}

// broadcast wakes all connections that wait. It needs mu.
func (q *queue) broadcast() {
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *queue) wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broadcast()
}

// end sets a flag that ends the sending. It needs mu.
func (q *queue) end(flag *bool) {
	*flag = true
	q.stopAcquiring()
	q.broadcast()
}

// stopOn ends the sending when stop is closed, until release is called.
func (q *queue) stopOn(stop <-chan struct{}) (release func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-stop:
			q.mu.Lock()
			defer q.mu.Unlock()
			q.end(&q.stopped)
		case <-done:
		}
	}()
	return func() { close(done) }
}

// stopError returns why the sending ends early, or nil.
func (q *queue) stopError(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stopErrorLocked(ctx)
}

func (q *queue) stopErrorLocked(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case q.stopped:
		return ErrStopped
	}
	return nil
}

// reserve waits until there may be a message for the drop point, and reserves it: the caller must
// call take or unreserve. It returns false if there will be no message. Before it waits, it calls
// beforeWait.
func (q *queue) reserve(ctx context.Context, d *dropPointState, beforeWait func() error) (bool, error) {
	for called := false; ; {
		q.mu.Lock()
		reserved, wait, err := q.tryReserve(ctx, d)
		changed := q.changed
		q.mu.Unlock()
		if reserved || wait == 0 {
			return reserved, err
		}
		if !called {
			called = true
			if err := beforeWait(); err != nil {
				return false, err
			}
			continue // it took time: look again
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// tryReserve reserves a message for the drop point if it can. Otherwise it returns how long to wait
// before the next attempt, or zero if there will be no message. It needs mu.
func (q *queue) tryReserve(ctx context.Context, d *dropPointState) (reserved bool, wait time.Duration, err error) {
	if err := q.stopErrorLocked(ctx); err != nil || d.failure != nil || q.finished {
		return false, 0, err
	}
	now := time.Now()
	if allowed, wait := q.turnAllows(d, now); !allowed {
		return false, wait, nil
	}
	if turn := d.NextTurn(now); turn > 0 && !d.askAgain.After(now) {
		d.limited(now, Wait{AskAgain: turn, Total: turn})
	}
	wait = d.askAgain.Sub(now)
	if !q.mayUse(d) {
		wait = max(wait, slotPolling)
	}
	if n, next := q.available(d, now); wait <= 0 && n > d.reserved {
		d.reserved++
		return true, 0, nil
	} else if wait <= 0 && !next.IsZero() {
		wait = next.Sub(now)
	}
	if q.inFlight == 0 && q.nothingLeft() {
		q.end(&q.finished)
		return false, 0, nil
	}
	if q.inFlight == 0 && q.notBefore().Sub(now) > maxIdleTurn {
		q.endTurnLocked(now)
		return false, 0, nil
	}
	if wait <= 0 {
		wait = time.Hour // until a change
	}
	return false, wait, nil
}

// unreserve returns a reservation.
func (q *queue) unreserve(d *dropPointState) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d.reserved--
	q.broadcast()
}

// available returns how many messages the drop point could take now. If there are none, next is
// when the first may be asked for again, or zero. It needs mu.
func (q *queue) available(d *dropPointState, now time.Time) (n int, next time.Time) {
	if q.mayReadFor(d) {
		n += q.open - q.read
	}
	n += countFor(q.returned, d) + countFor(q.retries, d)
	for _, it := range q.domainLimited {
		switch {
		case !it.mayGoTo(d):
		case !it.askAgain.After(now):
			n++
		case next.IsZero() || it.askAgain.Before(next):
			next = it.askAgain
		}
	}
	return n, next
}

// nothingLeft reports whether no drop point that works may be asked to accept any message. It needs
// mu, and no message may be in flight.
func (q *queue) nothingLeft() bool {
	if !q.allRead {
		return false
	}
	for _, d := range q.dropPoints {
		if !d.isUp() {
			continue
		}
		if countFor(q.returned, d)+countFor(q.retries, d) > 0 {
			return false
		}
		for _, it := range q.domainLimited {
			if it.mayGoTo(d) {
				return false
			}
		}
	}
	return true
}

// take returns a message that the rate limits allow now, or nil. reserved is true if the caller has
// a reservation, which take uses up.
func (q *queue) take(ctx context.Context, d *dropPointState, reserved bool) (taken *item, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if reserved {
		d.reserved--
	}
	if err := q.stopErrorLocked(ctx); err != nil || d.failure != nil || !q.mayUse(d) {
		return nil, err
	}
	now := time.Now()
	if allowed, _ := q.turnAllows(d, now); !allowed {
		return nil, nil
	}
	if d.askAgain.After(now) {
		return nil, nil
	}
	if turn := d.ReserveTurn(now); turn > 0 {
		d.limited(now, Wait{AskAgain: turn, Total: turn})
		return nil, nil
	}
	taken, err = q.takeAllowed(ctx, d, now)
	if taken == nil {
		d.GiveTurnBack()
	}
	return taken, err
}

// takeAllowed returns a message that the rate limits allow now, or nil. It needs mu.
func (q *queue) takeAllowed(ctx context.Context, d *dropPointState, now time.Time) (*item, error) {
	for {
		it, err := q.nextItem(d, now)
		if it == nil || err != nil {
			return nil, err
		}
		why, err := q.optedOut(ctx, it)
		if err != nil {
			q.returned = append(q.returned, it)
			return nil, err
		}
		if why != "" {
			q.exclude(it, why)
			continue
		}
		wait, err := q.batch.Allow(ctx, d.Name(), it.domain())
		switch {
		case err != nil:
			q.returned = append(q.returned, it)
			return nil, fmt.Errorf("ask the rate limits: %w", err)
		case wait.AskAgain <= 0:
			q.inFlight++
			d.inFlight++
			it.takenBy, it.afterTurn = d, q.turnOver
			_, it.begun = d.Evidence.numbers()
			it.refusing = d.Evidence.refuses() || d.Refuses && d.accepted == 0
			it.failing = it.refusing || d.Failed && d.accepted == 0
			return it, nil
		case wait.Domain:
			q.domainLimited = append(q.domainLimited, domainItem{it, now.Add(wait.AskAgain), now.Add(wait.Total)})
		default:
			q.returned = append(q.returned, it)
			d.limited(now, wait)
			return nil, nil
		}
	}
}
