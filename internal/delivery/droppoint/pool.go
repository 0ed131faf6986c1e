package droppoint

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"directmailer/internal/delivery/smtp"
)

const (
	// slowAnswer is the time to an answer from which a drop point counts as slow.
	slowAnswer = time.Second
	// slowSlots is how many batches that could use a faster drop point may use a slow one at a
	// time. Each of them waits there for its last answers before it leaves the worker.
	slowSlots = 2
	// maxIdle is how long a connection may be idle before it is closed: servers limit open
	// connections.
	maxIdle = time.Minute
)

// DropPoint is a drop point and its pool of connections. All batches and mailings of a worker share
// it. It is safe for concurrent use.
//
// The pool opens connections in goroutines of its own. So a connection that takes longer to open
// than the turn of a batch is used by a later turn.
type DropPoint struct {
	config     Config
	transport  transport
	speed      atomic.Int64    // recent time to an answer, in nanoseconds
	slowUsers  atomic.Int32    // batches that have one of the slowSlots
	lastAnswer atomic.Int64    // when a connection has opened or answered last, as Unix nanoseconds
	waits      atomic.Int32    // connections that wait for an answer
	waitsSince atomic.Int64    // when the first of them has begun to wait, as Unix nanoseconds
	ctx        context.Context // of connections that are being opened; it ends with close
	cancel     context.CancelFunc

	reopenPatience time.Duration
	pace           pace

	mu         sync.Mutex
	inUse      int // also those that are being closed
	opening    []*opening
	idle       []idleConn // the most recently used is the last
	waiters    []*waiter  // callers of Acquire, the first to be served first
	allowance  allowance
	crowded    crowd
	missed     *failure    // a failure that nobody has heard of; nil if there is none
	tryTimer   *time.Timer // will try one more connection; nil if no timer is set
	timerIsSet bool        // closeExpired will run
	closed     bool        // connections that are released are closed
}

// transport opens connections to one kind of drop point.
type transport interface {
	// open calls at with each step that it begins.
	open(ctx context.Context, at func(step string)) (rawConn, error)
}

// rawConn is a connection as its transport opens it. A [Conn] wraps it.
type rawConn interface {
	begin(ctx context.Context, m *Message) error
	fits(m *Message) error
	finish(next *Message) (Answer, error)
	pipelinesNext() bool
	alive() bool // the connection is free, and the peer has not closed it
	used() int   // messages that have begun
	close()      // ends the session as the protocol says
	abort()
}

type idleConn struct {
	rawConn
	since time.Time
}

// waiter is a caller of Acquire that waits.
type waiter struct{ answer chan acquired }

// acquired is what a waiter gets: a connection in use, or a failure.
type acquired struct {
	raw    rawConn
	isNew  bool // it was opened just now
	failed *failure
}

func newDropPoint(c Config) *DropPoint {
	d := &DropPoint{config: c, allowance: newAllowance(c.Connections), reopenPatience: usualReopenPatience}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if c.SMTP != nil {
		t := &smtpTransport{*c.SMTP, c.Idempotency}
		t.options.Addresses = &smtp.Addresses{}
		d.transport = t
	} else {
		d.transport = &directory{path: c.Dir, files: realFiles}
	}
	return d
}

// Name returns the name that mailings use for the drop point.
func (d *DropPoint) Name() string { return d.config.Name }

// String describes the drop point without its credentials.
func (d *DropPoint) String() string { return d.config.String() }

// Connections returns how many connections can be in use at a time.
func (d *DropPoint) Connections() int { return d.config.Connections }

// Acquire returns an idle connection, or waits until one is released or has opened, or until ctx
// ends. While the drop point gives fewer connections than configured, Acquire waits for those that
// it gives. The caller must call Release or Abort on the connection.
//
// An error that is not that of ctx means that no connection can be opened, and that no other works.
// Every caller that waits gets it. [OnlyLacksConnections] tells whether the drop point may only be
// busy with other workers.
func (d *DropPoint) Acquire(ctx context.Context) (Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var w *waiter
	for w == nil {
		if raw := d.takeIdle(); raw != nil {
			return &pooledConn{dropPoint: d, raw: raw}, nil
		}
		w = d.wait()
	}
	select {
	case got := <-w.answer:
		return d.connOf(got)
	case <-ctx.Done():
		return nil, d.leave(w, ctx.Err())
	}
}

func (d *DropPoint) connOf(got acquired) (Conn, error) {
	if got.failed != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.heard(got.failed)
		return nil, got.failed.cause
	}
	return &pooledConn{dropPoint: d, raw: got.raw, isNew: got.isNew}, nil
}

// wait makes a waiter. It is answered at once by a failure that nobody has heard of. It returns nil
// if a connection is idle by now: nothing would wake the waiter.
func (d *DropPoint) wait() *waiter {
	w := &waiter{answer: make(chan acquired, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.idle) > 0 {
		return nil
	}
	if f := d.missed; f != nil && f.isRecent(time.Now()) {
		d.heard(f)
		w.answer <- acquired{failed: f}
		return w
	}
	d.waiters = append(d.waiters, w)
	d.openMore()
	return w
}

// leave ends the waiting, and returns err. A connection that has come meanwhile goes to another
// waiter. A failure is kept for the next one who asks, unless somebody else has heard of it.
func (d *DropPoint) leave(w *waiter, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.Index(d.waiters, w); i >= 0 {
		d.waiters = slices.Delete(d.waiters, i, i+1)
		return err
	}
	switch got := <-w.answer; {
	case got.failed == nil:
		d.inUse--
		d.deliver(got.raw, got.isNew)
	case !got.failed.heard:
		d.missed = got.failed
	}
	return err
}

// deliver gives a connection to the first waiter, or keeps it. It needs mu.
func (d *DropPoint) deliver(raw rawConn, isNew bool) {
	switch {
	case len(d.waiters) > 0:
		w := d.waiters[0]
		d.waiters = slices.Delete(d.waiters, 0, 1)
		d.inUse++
		w.answer <- acquired{raw: raw, isNew: isNew}
	case d.closed:
		go raw.close()
	default:
		d.putIdle(raw)
	}
}

// open returns how many connections are open or being opened. It needs mu.
func (d *DropPoint) open() int { return d.inUse + len(d.idle) + len(d.opening) }

// release takes a connection back that its user has finished with.
func (d *DropPoint) release(raw rawConn) {
	if raw.alive() && d.keep(raw) {
		return
	}
	raw.close() // before another is opened: the server counts it until then
	d.lost()
}

// keep gives a connection to a waiter, or keeps it idle. It returns false if the connection must be
// closed.
func (d *DropPoint) keep(raw rawConn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.allowance.lends(d.open(), time.Now()) {
		return false
	}
	d.inUse--
	d.deliver(raw, false)
	return true
}

// lost frees the place of a connection in use that is closed.
func (d *DropPoint) lost() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inUse--
	d.openMore()
}

// HasWaiters reports whether a caller of Acquire waits for a connection.
func (d *DropPoint) HasWaiters() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiters) > 0
}

// HasFree reports whether Acquire would return a connection without waiting for another caller.
func (d *DropPoint) HasFree() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.idle) > 0 || d.open() < d.allowance.limit(time.Now())
}

// Speed is how soon a drop point answers.
type Speed int

// The speeds.
const (
	Unknown Speed = iota // it has answered to no message yet, or was slow and has had none for slowMemory
	Quick
	Slow // recent answers took a second or more, or none has come for a second
)

// slowMemory is how long a drop point without messages counts as slow. If it did for ever, batches
// that wait for a drop point that does not answer could keep all others from a quick one.
const slowMemory = 10 * time.Second

// Speed returns how soon the drop point answers now.
func (d *DropPoint) Speed() Speed {
	now := time.Now()
	switch speed := d.speed.Load(); {
	case d.isStalled(now):
		return Slow
	case speed == 0 || d.slownessIsOld(now):
		return Unknown
	case speed >= int64(slowAnswer):
		return Slow
	}
	return Quick
}

// slownessIsOld reports whether the last answers were slow, none has come for slowMemory, and no
// connection waits for one.
func (d *DropPoint) slownessIsOld(now time.Time) bool {
	return d.speed.Load() >= int64(slowAnswer) && d.waits.Load() == 0 &&
		now.Sub(time.Unix(0, d.lastAnswer.Load())) >= slowMemory
}

// isStalled reports whether connections wait, and none has had an answer for a while.
func (d *DropPoint) isStalled(now time.Time) bool {
	if d.waits.Load() == 0 { // before the times are read: see waiting
		return false
	}
	last := max(d.lastAnswer.Load(), d.waitsSince.Load())
	return now.Sub(time.Unix(0, last)) >= slowAnswer
}

// waiting counts a connection that waits for an answer, until done is called.
func (d *DropPoint) waiting() (done func()) {
	now := time.Now()
	if d.slownessIsOld(now) {
		d.speed.Store(0)
	}
	if d.waits.Load() == 0 { // stored before the connection waits: a pause before it is no stall
		d.waitsSince.Store(now.UnixNano())
	}
	d.waits.Add(1)
	return func() { d.waits.Add(-1) }
}

// recordAnswer takes up the time to an answer. One slow answer makes the drop point slow at once.
// It takes several fast answers until it counts as fast again.
func (d *DropPoint) recordAnswer(took time.Duration) {
	if before := d.speed.Load(); int64(took) > before {
		d.speed.Store(int64(took))
	} else {
		d.speed.Store(before - (before-int64(took))/8)
	}
}

// AcquireSlowSlot reserves one of the two slots for batches that use this slow drop point although
// they could use a faster one. It returns false if both are taken. After true, the caller must call
// [DropPoint.ReleaseSlowSlot].
func (d *DropPoint) AcquireSlowSlot() bool {
	if d.slowUsers.Add(1) > slowSlots {
		d.slowUsers.Add(-1)
		return false
	}
	return true
}

// ReleaseSlowSlot returns a slot.
func (d *DropPoint) ReleaseSlowSlot() { d.slowUsers.Add(-1) }
