package droppoint

import (
	"context"
	"errors"
	"slices"
	"time"

	"directmailer/internal/delivery/smtp"
)

const (
	// missedFor is how long a failure is kept that came while nobody waited for a connection.
	missedFor = time.Minute
	// crowdedFor is how long a server may give this worker no connection at all before that is a
	// failure: it may give them all to other workers, who report that by then.
	crowdedFor = 20 * time.Second
	// worksFor is how long a drop point counts as working after an answer on any connection.
	worksFor = time.Minute
)

// opening is a connection that is being opened. The pool's mu guards it.
type opening struct {
	since time.Time
	step  string
}

// failure is a failure to open a connection while no other works. If it comes while nobody waits,
// between two turns for example, the next caller of Acquire gets it. So it is counted, once. The
// pool's mu guards it.
type failure struct {
	cause error
	at    time.Time
	heard bool // somebody has got it
}

func (f *failure) isRecent(now time.Time) bool { return now.Sub(f.at) < missedFor }

// heard notes that somebody has got the failure. It needs mu.
func (d *DropPoint) heard(f *failure) {
	f.heard = true
	if d.missed == f {
		d.missed = nil
	}
}

// openMore opens connections for those who wait, as many as may be open. It needs mu.
func (d *DropPoint) openMore() {
	now := time.Now()
	for !d.closed && len(d.opening) < len(d.waiters) && d.open() < d.allowance.limit(now) {
		o := &opening{since: now}
		d.opening = append(d.opening, o)
		go d.openOne(o)
	}
	if d.tryTimer == nil && !d.closed && len(d.opening) < len(d.waiters) && d.allowance.isReduced() {
		d.tryTimer = time.AfterFunc(max(d.allowance.tryAt.Sub(now), time.Millisecond), func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.tryTimer = nil
			d.openMore()
		})
	}
}

// openOne opens one connection, whether or not anybody still waits for it.
func (d *DropPoint) openOne(o *opening) {
	raw, err := d.transport.open(d.ctx, func(step string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		o.step = step
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opening = slices.DeleteFunc(d.opening, func(other *opening) bool { return other == o })
	if err != nil {
		d.notOpened(err, o.since)
		return
	}
	d.missed, d.crowded = nil, crowd{}
	d.lastAnswer.Store(time.Now().UnixNano())
	d.allowance.opened(d.open()+1, time.Now())
	d.deliver(raw, true)
}

// notOpened handles a failure to open a connection. While others work, it means that the drop point
// gives fewer connections, and those who wait get one of the others. While others are being opened,
// their end decides. Otherwise nobody can get a connection. It needs mu.
func (d *DropPoint) notOpened(err error, began time.Time) {
	now := time.Now()
	throttled := OutcomeOf(err) == Throttled
	if throttled {
		d.pace.throttled(now, began, err)
	}
	switch {
	case d.works(now), len(d.opening) > 0:
		d.allowance.refused(d.open(), err, now)
		d.openMore()
		return
	}
	f := &failure{cause: err, at: now}
	if isCrowded(err) || throttled {
		d.allowance.refused(0, err, now)
		if !throttled && d.crowded.begun(now) < crowdedFor {
			f.cause = &noConnection{err}
		}
	} else {
		d.allowance.reset()
	}
	if len(d.waiters) == 0 {
		d.missed = f
	}
	for _, w := range d.waiters {
		w.answer <- acquired{failed: f}
	}
	d.waiters = nil
}

// isCrowded reports whether a server answers, and has no connection to give.
func isCrowded(err error) bool {
	r, ok := errors.AsType[*smtp.Refusal](err)
	return ok && r.Code == 421 || smtp.WantsFewerConnections(err)
}

// crowd is a time in which a server gives this worker no connection.
type crowd struct{ since, last time.Time }

// begun returns how long the server has given no connection, now included.
func (c *crowd) begun(now time.Time) time.Duration {
	if now.Sub(c.last) > worksFor {
		c.since = now
	}
	c.last = now
	return now.Sub(c.since)
}

// works reports whether connections are open, and one of them was answered not long ago. It needs
// mu.
func (d *DropPoint) works(now time.Time) bool {
	return d.inUse+len(d.idle) > 0 && now.Sub(time.Unix(0, d.lastAnswer.Load())) < worksFor
}

// refused notes that the drop point has refused a connection after it was opened, for a reason. It
// returns false if no other connection works.
func (d *DropPoint) refused(reason error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inUse-- // not this one
	defer func() { d.inUse++ }()
	now := time.Now()
	if !d.works(now) {
		return false
	}
	d.allowance.refused(d.open(), reason, now)
	return true
}

// proven notes that a new connection has carried a message.
func (d *DropPoint) proven() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.allowance.proven()
}

// Check opens a connection and closes it, without sending a message. A drop point that gives no
// further connection while others work is usable.
func (d *DropPoint) Check(ctx context.Context) Health {
	began := time.Now()
	c, err := d.transport.open(ctx, func(string) {})
	if err == nil {
		c.close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && ctx.Err() == nil && d.works(time.Now()) {
		err = nil
	}
	return Health{Took: time.Since(began), Err: err}
}

// Opening returns since when the oldest connection is being opened, and its present step, if none
// is open. Otherwise the time is zero.
func (d *DropPoint) Opening() (since time.Time, step string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.opening) == 0 || d.inUse+len(d.idle) > 0 {
		return time.Time{}, ""
	}
	return d.opening[0].since, d.opening[0].step
}

// State is what a drop point allows this worker now. Without a connection, Connections is 0.
type State struct {
	Connections int
	Reason      error   // why Connections is less than configured; nil if it is not
	Rate        float64 // messages per second, as the server has asked for; 0 if it has not
	RateReason  error   // how it has asked
}

// State returns what the drop point allows.
func (d *DropPoint) State() (s State) {
	s.Rate, s.RateReason = d.pace.limit(time.Now())
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.allowance.isReduced():
		s.Connections = d.allowance.most
	case d.crowded.last.IsZero():
		s.Connections, s.Reason = d.allowance.learned, d.allowance.reason
	default:
		s.Reason = d.allowance.reason
	}
	return s
}

// ReserveTurn takes the turn of a message, by the rate that the server has asked for. If the turn
// has not come, it returns the time until then. [DropPoint.GiveTurnBack] returns a turn.
func (d *DropPoint) ReserveTurn(now time.Time) (wait time.Duration) { return d.pace.reserve(now) }

// GiveTurnBack returns a turn that was not used.
func (d *DropPoint) GiveTurnBack() { d.pace.giveBack() }

// NextTurn returns the time until the next turn.
func (d *DropPoint) NextTurn(now time.Time) time.Duration { return d.pace.wait(now) }
